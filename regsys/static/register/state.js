// What the page must not forget: it is kept in sessionStorage, so that a reload, Back, or a tab that
// the browser has discarded lose nothing. The password is never part of it: the server keeps its
// hash with the session.

import { api, root } from "./dom.js";

export const CODE = "#code"; // ends the name of the step that asks for the code of an address
const KEY = `regsys.register ${api}`;
const language = document.documentElement.lang;
const DIALOGUE = {
    session: "", // the id of the UIA session, once there is one
    flows: [], // those on offer, each a list of stages
    flow: null, // the chosen one of them
    completed: [], // the stages that are passed
    proofs: {}, // by stage: the validation of an address
};

/** `titles`: by stage, its title and what it asks for; null if a browser cannot do it. `result`:
 * the account, once it is made. `token`: the registration token of the page's address. */
export const state = { name: "", titles: {}, token: "", result: null, ...DIALOGUE, ...read() };
if (state.language !== language) {
    Object.assign(state, { language, titles: {} });
}

function read() {
    try {
        return JSON.parse(sessionStorage.getItem(KEY));
    } catch {
        return null; // the reader has forbidden storage: a reload loses what was done
    }
}

export function save(changes = {}) {
    Object.assign(state, changes);
    try {
        sessionStorage.setItem(KEY, JSON.stringify(state));
    } catch {
        // Forbidden, as above.
    }
}

/** Begin again, with the name and the chosen flow alone. */
export function forgetSession() {
    save({ ...DIALOGUE, proofs: {}, flow: state.flow });
}

/** As the server lower-cases: A to Z only. */
export function chosenName() {
    return state.name.trim().replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

export function matrixID() {
    return `@${chosenName()}:${root.dataset.serverName}`;
}

/** The step of a stage that is left to do: where an address is known already, that of its code. */
export function stepOf(stage) {
    return state.proofs[stage]?.sid ? stage + CODE : stage;
}
