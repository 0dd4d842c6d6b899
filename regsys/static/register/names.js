// Shows, while a name is typed, what the Matrix ID will be and whether it is free.

import { _, api, aria, find, root } from "./dom.js";
import { ask, told } from "./requests.js";
import { chosenName, matrixID, state } from "./state.js";

const PAUSE_MS = 450; // in typing: nothing is announced before

const username = find("username");
const status = find("name-status");
let typing;

function tell(text, isWrong = false) {
    status.textContent = text;
    status.className = isWrong ? "bad" : "";
    aria(username, "invalid", isWrong);
}

/** What was said about the name is no longer true. */
export function forgetName() {
    clearTimeout(typing);
    tell("");
}

/** Tell about the name that was typed, after a pause. `anew` is called when that is told. */
export function tellName(anew) {
    forgetName();
    const name = chosenName();
    if (name) {
        typing = setTimeout(() => {
            anew();
            tell(_("Your Matrix ID will be {id}", { id: matrixID() }));
            if (!("namesAreSecret" in root.dataset)) {
                check(name);
            }
        }, PAUSE_MS);
    }
}

async function check(name) {
    const query = new URLSearchParams({ username: name });
    if (state.session) {
        query.set("session", state.session); // to which a name that it holds is free
    }
    let answer;
    try {
        answer = await ask(`${api}register/available?${query}`);
    } catch ({ waitMs }) {
        // It is only a help: if it fails, the server still checks at the end.
        if (waitMs && name === chosenName()) {
            clearTimeout(typing);
            typing = setTimeout(() => check(name), waitMs);
        }
        return;
    }
    const { error } = await told(answer);
    if (name !== chosenName()) {
        return; // another check has begun
    }
    if (answer.ok) {
        tell(_("{id} is free.", { id: matrixID() }));
        status.className = "good";
    } else {
        tell(_(error), true);
    }
}
