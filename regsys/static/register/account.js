// The first step: name and password.

import { _, find, root } from "./dom.js";
import { forgetName, tellName } from "./names.js";
import { estimate } from "./password_meter.js";
import { save, state } from "./state.js";
import { complain, onSubmit, progress, show, shownStages } from "./steps.js";

const PAUSE_MS = 700; // in typing: the advice is announced after it

export const form = find("account");
const [username, password, strength, advice, kept] = [
    "username", "password", "strength", "advice", "kept",
].map(find);
const rules = [...find("rules").children];
let typing;

username.value = state.name;
username.addEventListener("input", () => {
    save({ name: username.value });
    tellName(() => withdraw("username"));
});

password.addEventListener("input", () => {
    withdraw("password");
    for (const rule of rules) {
        const met = new RegExp(rule.dataset.pattern, "su").test(password.value);
        rule.className = met ? "good" : "";
    }
    advise();
});

find("reveal").addEventListener("change", (event) => {
    password.type = event.target.checked ? "text" : "password";
});

/** Take back the complaint about this field. */
function withdraw(field) {
    form.querySelector(`[data-about=${field}]`)?.remove();
}

// --- The strength of the password ------------------------------------------------------------

function advise() {
    clearTimeout(typing);
    strength.hidden = password.value === "";
    if (password.value === "") {
        advice.textContent = "";
        return;
    }
    const own = [...state.name.split(/[._=/+-]/), state.name, ...root.dataset.serverName.split(".")];
    const { score, reason } = estimate(password.value, own);
    strength.value = score + 1;
    const words = [strengthOf(score), score < 3 ? reasonOf(reason) : ""];
    typing = setTimeout(() => (advice.textContent = words.join(" ").trim()), PAUSE_MS);
}

function strengthOf(score) {
    return [
        _("Very easy to guess."),
        _("Easy to guess."),
        _("Could be harder to guess."),
        _("Hard to guess."),
        _("Very hard to guess."),
    ][score];
}

function reasonOf(kind) {
    return {
        common: _("It has a word that is tried first."),
        own: _("It has your name or the server’s in it."),
        repeat: _("It repeats itself."),
        sequence: _("It has a sequence such as abc or 321."),
        keys: _("It has keys that are side by side."),
        date: _("It has a date or a year."),
    }[kind] ?? _("Make it longer: a few words that have nothing to do with each other are easy to keep in mind.");
}

// --- Showing and sending it ------------------------------------------------------------------

function fieldOf({ errcode = "" }) {
    return /USER|EXCLUSIVE/.test(errcode) ? username
        : /PASSWORD|MISSING_PARAM/.test(errcode) ? password : null;
}

/** Whether this error is about the name or the password. */
export function isAbout(error) {
    return fieldOf(error) !== null;
}

/** Show the error beside its field. */
export function complainHere(error) {
    const field = fieldOf(error);
    if (field === username) {
        forgetName(); // or "free" stood below "taken"
    }
    // The server has lost the session, or its password.
    password.required = !state.session || field === password;
    kept.hidden = password.required;
    complain(form, error.message, field);
    form.querySelector("[role=alert]").dataset.about = field?.id ?? "";
}

/** Show the step. `flow` has functions of flows.js. */
export function showAccount(signal, failure, flow) {
    // The server keeps the password with its session.
    password.required = !state.session;
    kept.hidden = !state.session || password.value !== "";
    show(form, _("Name and password"), username, progress(shownStages()));
    form.querySelectorAll("[role=alert]").forEach((old) => old.remove());
    if (failure) {
        complainHere(failure);
    }
    onSubmit(form, signal, async () => {
        const unmet = rules.filter(({ className }) => className !== "good");
        if (unmet.length && (password.required || password.value)) {
            const names = unmet.map(({ textContent }) => textContent).join("; ");
            const message = _("The password still lacks: {rules}", { rules: names });
            return complainHere({ message, errcode: "PASSWORD" });
        }
        save({ name: username.value });
        const secret = password.value ? { password: password.value } : {};
        await flow.advance(signal, {}, secret);
    });
}
