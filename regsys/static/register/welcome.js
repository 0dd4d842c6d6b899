// The end: the account is ready, or waits for approval.

import { _, find, root } from "./dom.js";
import { state } from "./state.js";
import { show } from "./steps.js";

const COPIED_MS = 4000;

const heading = document.querySelector("h1");
const [ready, waiting] = ["ready", "waiting"].map(find);

export function showWelcome(signal) {
    const { user_id, waits, address } = state.result;
    find("user-id").textContent = user_id;
    const link = find("to-matrix");
    link.href = `https://matrix.to/#/${encodeURIComponent(user_id)}`;
    link.textContent = `matrix.to/#/${user_id}`;
    find("copy").addEventListener("click", () => copy(user_id), { signal });
    [ready.hidden, waiting.hidden] = [waits, !waits];
    find("hear").textContent = address
        ? _("You will get a mail at {address} once that is decided.", { address })
        : _("You will get no message: try to sign in from time to time.");
    heading.textContent = waits
        ? _("Your account is waiting for approval")
        : _("Your account is ready");
    heading.tabIndex = -1;
    show(find("welcome"), heading.textContent, heading);
    root.querySelector(".progress").hidden = true;
    document.title = `${heading.textContent} – ${root.dataset.serverName}`;
}

async function copy(text) {
    const status = find("copied");
    try {
        await navigator.clipboard.writeText(text);
        status.textContent = _("Copied.");
    } catch {
        // It is forbidden here, as on a page without TLS: the person copies what is selected.
        getSelection().selectAllChildren(find("user-id"));
        status.textContent = _("It is selected: copy it now.");
    }
    setTimeout(() => (status.textContent = ""), COPIED_MS);
}
