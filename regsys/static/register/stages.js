// The stages' fallback pages (/auth/{stage}/fallback/web): their forms are shown here and sent
// there. The stages for addresses have no such page: their forms are in the registration page.

import { _, api, element, find } from "./dom.js";
import { ask, Refusal } from "./requests.js";
import { forgetSession, save, state } from "./state.js";
import { complain, onSubmit, present, run } from "./steps.js";

const TOKEN = "m.login.registration_token";
const FRESH_MS = 60_000; // a captcha's challenge grows old
const SCRIPT_MS = 12_000;

/** The forms of the steps for addresses, by stage, as far as the server validates them. */
export const proofs = new Map([...document.querySelectorAll("template[data-stage]")].map(
    (forms) => [forms.dataset.stage, forms],
));
const loaded = new Map(); // by stage: its page, which was asked for before it is needed

function addressOf(stage) {
    return `${api}auth/${encodeURIComponent(stage)}/fallback/web`;
}

/** Learn the titles of the stages, and what they ask for, all at once. */
export async function loadStages(stages) {
    const unknown = [...new Set(stages)].filter((stage) => !(stage in state.titles));
    const titles = await Promise.all(unknown.map(async (stage) => {
        const forms = proofs.get(stage);
        const page = forms ? forms.content : await preload(stage);
        const title = forms ? forms.dataset.title : page && headingOf(page);
        const about = page?.querySelector("form p:not([role])")?.textContent ?? "";
        return [stage, page && { title, about }];
    }));
    save({ titles: { ...state.titles, ...Object.fromEntries(titles) } });
}

/** Load a stage's page, which is shown soon; null if the stage has none. */
export function preload(stage) {
    const page = load(`${addressOf(stage)}?session=${state.session}`);
    page.catch(() => loaded.delete(stage));
    loaded.set(stage, { page, until: Date.now() + FRESH_MS });
    return page;
}

function pageOf(stage) {
    const { page, until } = loaded.get(stage) ?? {};
    loaded.delete(stage);
    return until > Date.now() ? page : load(`${addressOf(stage)}?session=${state.session}`);
}

function headingOf(page) {
    return page.querySelector("h1").textContent;
}

/** A stage's page, whether it is passed or not; null if the stage has none. */
async function load(url, options) {
    const answer = await ask(url, options);
    if (answer.status === 404) {
        return null;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!answer.ok && !page.querySelector("form")) {
        if (answer.status === 400) {
            forgetSession();
        }
        const error = page.querySelector("[role=alert]")?.textContent ?? answer.statusText;
        throw new Refusal(error, { status: answer.status });
    }
    return page;
}

/** Show the stage's form until the stage is passed, when its page no longer has a form. `flow` has
 * functions of flows.js. */
export async function showStage(stage, signal, failure, flow) {
    const waiting = element("form");
    present(state.titles[stage].title, [waiting, ...flow.leaveButtons()]);
    await run(waiting, signal, async () => {
        const page = await pageOf(stage);
        if (signal.aborted) {
            return;
        }
        if (page?.querySelector("form")) {
            placeForm(stage, signal, page, waiting, failure, flow);
        } else {
            await flow.passed(signal, stage); // in another tab
        }
    });
    if (!signal.aborted && waiting.isConnected && waiting.querySelector("[role=alert]")) {
        const again = () => showStage(stage, signal, undefined, flow);
        waiting.append(element("button", _("Try again")));
        onSubmit(waiting, signal, again);
    }
}

/** Show the form of the stage's page in the place of another one. */
function placeForm(stage, signal, page, former, failure, flow) {
    const form = document.importNode(page.querySelector("form"), true);
    former.replaceWith(form);
    const token = stage === TOKEN && !failure && form.elements.token;
    if (token && !token.hasAttribute("aria-invalid")) {
        token.value = state.token;
    }
    if (failure) {
        complain(form, failure.message);
    }
    runScripts(form, () => tellBlocked(stage, signal, form, flow));
    onSubmit(form, signal, async () => {
        const body = new URLSearchParams(new FormData(form));
        const next = flow.nextStage(stage);
        if (next && !proofs.has(next) && !loaded.has(next)) {
            preload(next).catch(() => {});
        }
        const answer = await load(addressOf(stage), { method: "POST", body });
        if (!answer?.querySelector("form")) {
            await flow.passed(signal, stage);
        } else if (!signal.aborted) {
            placeForm(stage, signal, answer, form, undefined, flow);
        }
    });
    (form.querySelector("[aria-invalid=true]") ?? find("step").querySelector("h2")).focus();
}

/** Browsers do not run the scripts of a fetched page; copies that are created here run. */
function runScripts(form, blocked) {
    for (const dead of form.querySelectorAll("script")) {
        const script = element("script", dead.textContent);
        [...dead.attributes].forEach(({ name, value }) => script.setAttribute(name, value));
        if (script.src) {
            const late = setTimeout(blocked, SCRIPT_MS);
            script.addEventListener("load", () => clearTimeout(late));
            script.addEventListener("error", () => {
                clearTimeout(late);
                blocked();
            });
        }
        dead.replaceWith(script);
    }
}

/** Say that a script of this step, such as a captcha's, does not load, and what else there is. */
function tellBlocked(stage, signal, form, flow) {
    if (signal.aborted || !form.isConnected) {
        return;
    }
    complain(form, _("A part of this step could not be loaded. A content blocker or your network may keep it away."));
    const others = flow.leaveButtons().length > 0;
    const contact = find("contact");
    const advice = element("p", others
        ? _("Allow it and try again, or choose another way below.")
        : _("Allow it and try again, or try another browser or another network."));
    if (contact && !others) {
        const who = contact.cloneNode(true);
        who.removeAttribute("id");
        advice.append(" ", _("If that does not help, ask:"), " ", who);
    }
    const retry = element("button", _("Try again"), { type: "button" });
    retry.addEventListener("click", () => showStage(stage, signal, undefined, flow));
    // What the form shows is useless without its script; so is its button.
    form.querySelectorAll(":scope > :not([role=alert])").forEach((part) => part.remove());
    form.append(advice, retry);
}

/** A step that is passed already, which Back has led to. */
export function showPassed(stage, signal, flow) {
    const form = element("form");
    form.append(element("p", _("This step is done.")), element("button", _("Continue")));
    onSubmit(form, signal, () => flow.advance(signal));
    present(state.titles[stage].title, [form]);
}
