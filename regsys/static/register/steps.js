// How steps are shown: one at a time, each an entry of the browser's history.

import { _, aria, element, find, root, title as pageTitle } from "./dom.js";
import { patiently } from "./requests.js";
import { state } from "./state.js";

const SOON_MS = 400;
const parts = ["account", "step", "welcome"].map(find);
const [work, countdown] = ["work", "countdown"].map(find);

let leaving = new AbortController(); // aborts when the step that is shown is left
let render;
let refused;

/** Show the step of the browser's history. `render(step, signal, failure)` shows one, whose signal
 * aborts when it is left; `refused(error, form)` deals with errors. */
export function begin(renderer, onRefusal) {
    [render, refused] = [renderer, onRefusal];
    addEventListener("popstate", () => enter(current()));
    enter(current());
}

export function current() {
    return history.state?.step ?? "account";
}

/** Go on to this step. `failure` is the error that leads there. */
export function go(step, failure) {
    if (step !== current()) {
        history.pushState({ step }, "");
    }
    enter(step, failure);
}

function enter(step, failure) {
    leaving.abort();
    leaving = new AbortController();
    tell("");
    render(step, leaving.signal, failure);
}

/** Show only this part of the page. Its `title` is also the document's; the focus moves to `focus`. */
export function show(part, title, focus, steps = []) {
    parts.forEach((other) => (other.hidden = other !== part));
    root.querySelector(".progress").replaceChildren(...steps.map(({ text, done }) => element(
        "li",
        text,
        text === title ? { "aria-current": "step" } : done ? { class: "good" } : {},
    )));
    document.title = title === pageTitle ? title : `${title} – ${pageTitle}`;
    focus.focus();
}

/** The steps from the account to its end. `between` has those that depend on the flow. */
export function progress(between) {
    return [
        { text: _("Name and password"), done: state.session !== "" },
        ...between,
        { text: _("Done"), done: false },
    ];
}

/** The steps of the chosen flow, as far as the person has something to do in them. */
export function shownStages() {
    const stages = (state.flow ?? []).filter((stage) => state.titles[stage]);
    return stages.map((stage) => (
        { text: state.titles[stage].title, done: state.completed.includes(stage) }
    ));
}

/** Show this as a step between the account and its end: that of a stage of the chosen flow, or the
 * choice of a flow. */
export function present(title, content, isChoice = false) {
    const heading = element("h2", title, { tabindex: -1 });
    find("step").replaceChildren(heading, ...content);
    show(find("step"), title, heading, progress(isChoice ? [{ text: title }] : shownStages()));
}

/** Do this work whenever the form is sent; it gets the value of the button. */
export function onSubmit(form, signal, handle) {
    form.addEventListener("submit", (event) => {
        event.preventDefault();
        if (!isBusy(form)) {
            run(form, signal, () => handle(event.submitter?.value));
        }
    }, { signal });
}

/** Do the work; meanwhile the form says so, and cannot be sent again. */
export async function run(form, signal, task) {
    form.querySelectorAll("[role=alert]").forEach((old) => old.remove());
    busy(form, true);
    const slow = setTimeout(() => signal.aborted || tell(_("Working…")), SOON_MS);
    try {
        await patiently(task, tellWait, signal);
    } catch (error) {
        refuse(error, form, signal);
    } finally {
        clearTimeout(slow);
        busy(form, false);
        if (!signal.aborted) {
            tell("");
        }
    }
}

/** Deal with this error, unless the step is left. */
export function refuse(error, form, signal) {
    if (!signal.aborted) {
        refused(error, form);
    }
}

function busy(form, is) {
    aria(form, "busy", is);
    // Not `disabled`, which would take the focus away.
    form.querySelectorAll("button:not([type=button])").forEach((it) => aria(it, "disabled", is));
}

export function isBusy(form) {
    return form.hasAttribute("aria-busy");
}

/** Say what the page is doing. */
export function tell(text) {
    work.textContent = text;
    countdown.hidden = true;
}

/** The sentence is announced once; the seconds are only shown. */
function tellWait(seconds) {
    const sentence = _("There are too many requests at the moment. This page tries again by itself.");
    if (work.textContent !== sentence) {
        tell(sentence);
    }
    const [minutes, rest] = [Math.floor(seconds / 60), seconds % 60];
    countdown.textContent = `${minutes}:${String(rest).padStart(2, "0")}`;
    countdown.hidden = seconds === 0;
    if (seconds === 0) {
        tell(_("Working…"));
    }
}

/** Show this error above the form, and lead to its field, if it has one. */
export function complain(form, text, field) {
    form.querySelectorAll("[role=alert]").forEach((old) => old.remove());
    form.prepend(element("p", text, { role: "alert" }));
    if (field) {
        aria(field, "invalid", true);
        field.addEventListener("input", () => aria(field, "invalid", false), { once: true });
        field.focus();
    }
}
