// The registration page: name and password, then the stages that the server requires.
//
// Each step is an entry of the browser's history: "account", "choice", a stage's type, that of an
// address with CODE at its end, "welcome". What the steps need is in register/state.js.

import { complainHere, form as accountForm, isAbout, showAccount } from "./register/account.js";
import { showAddress, showCode } from "./register/addresses.js";
import { root } from "./register/dom.js";
import * as flow from "./register/flows.js";
import { proofs, showPassed, showStage } from "./register/stages.js";
import { CODE, save, state, stepOf } from "./register/state.js";
import { begin, complain, current, go } from "./register/steps.js";
import { showWelcome } from "./register/welcome.js";

function render(step, signal, failure) {
    if (state.result) {
        return showWelcome(signal);
    }
    if (step === "choice" && state.session) {
        return flow.showChoice(signal);
    }
    const stage = step.split(CODE)[0];
    if (!state.session || !state.titles[stage]) {
        return showAccount(signal, failure, flow);
    }
    if (state.completed.includes(stage)) {
        return showPassed(stage, signal, flow);
    }
    const isCode = step !== stage && state.proofs[stage]?.sid;
    const showStep = isCode ? showCode : proofs.has(stage) ? showAddress : showStage;
    return showStep(stage, signal, failure, flow);
}

/** Show the error where it can be mended. */
function refused(error, form) {
    const stage = current().split(CODE)[0];
    const address = /THREEPID/.test(error.errcode) && addressIn(stage);
    const next = flow.nextStage();
    if (error.field?.isConnected) {
        complain(form, error.message, error.field);
    } else if (form === accountForm) {
        complainHere(error);
    } else if (!state.session || isAbout(error)) {
        go("account", error);
    } else if (address) {
        save({ completed: state.completed.filter((type) => type !== address) });
        go(address, error);
    } else if (error.status === 401 && next && next !== stage) {
        go(stepOf(next), error); // it was passed, and is not any longer
    } else {
        complain(form, error.message);
    }
}

/** The stage of the address that was refused: this one, or the one that the flow has. */
function addressIn(stage) {
    return proofs.has(stage) ? stage : (state.flow ?? []).find((type) => proofs.has(type));
}

/** The invitation's link has a token; it shall not stay in the history. */
function takeToken() {
    const token = new URLSearchParams(location.search).get("token");
    if (token) {
        save({ token });
        history.replaceState(history.state, "", location.pathname);
    }
}

/** Whether the reader has opened the page anew: it is no reload, and not Back. */
function isNew() {
    return !history.state || performance.getEntriesByType("navigation")[0].type === "navigate";
}

takeToken();
const isOpened = isNew();
if (isOpened) {
    history.replaceState({ step: "account" }, "");
    if (state.result) {
        save({ result: null, name: "" }); // an account was made in this tab; now comes another one
        accountForm.reset();
    }
}
root.hidden = false;
begin(render, refused);
const next = flow.nextStage();
if (isOpened && state.session && next) {
    go(stepOf(next)); // the page was left before the end
}
