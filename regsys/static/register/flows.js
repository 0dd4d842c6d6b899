// The dialogue of POST /register: which flow, which stage comes next, and when it is over.

import { _, element } from "./dom.js";
import { Refusal, register } from "./requests.js";
import { loadStages } from "./stages.js";
import { save, state, stepOf } from "./state.js";
import { go, onSubmit, present } from "./steps.js";

const DUMMY = "m.login.dummy"; // there is nothing to do in it

/** Send this to the server, and go on to what it still asks for. `account` as of register(). */
export async function advance(signal, auth = {}, account = undefined) {
    let answer = await register(auth, account);
    for (let isLast = false; !answer.user_id; isLast = true) {
        await loadStages(state.flows.flat().filter((stage) => stage !== DUMMY));
        chooseFlow();
        const stage = nextStage();
        if (signal.aborted) {
            return;
        }
        if (!state.flow || stage) {
            return go(state.flow ? stepOf(stage) : "choice");
        }
        if (isLast) {
            throw new Refusal(_("The server still asks for something, and does not say what."));
        }
        answer = await register(state.flow.includes(DUMMY) ? { type: DUMMY } : {});
    }
    finish(answer);
}

/** The stage is passed, outside of POST /register: go on. */
export async function passed(signal, stage) {
    save({ completed: [...state.completed, stage] });
    const next = nextStage();
    if (!next) {
        await advance(signal, state.flow.includes(DUMMY) ? { type: DUMMY } : {});
    } else if (!signal.aborted) {
        go(stepOf(next));
    }
}

/** The first stage of the chosen flow that is left to do, after `stage` if it is given. */
export function nextStage(stage) {
    const left = (state.flow ?? []).filter((it) => it !== DUMMY && !state.completed.includes(it));
    return left[left.indexOf(stage) + 1];
}

function finish({ user_id, waits }) {
    const mail = state.proofs["m.login.email.identity"]?.fields.email;
    const address = state.flow?.includes("m.login.email.identity") ? mail : undefined;
    // The session ends here: Back must not lead into it.
    save({ result: { user_id, waits, address }, session: "", proofs: {}, token: "" });
    go("welcome");
}

// --- The choice ------------------------------------------------------------------------------

/** The flows that this page supports, without those that contain another one's stages. */
export function ways() {
    const work = (stages) => stages.filter((stage) => stage !== DUMMY);
    const open = state.flows.filter((stages) => work(stages).every((it) => state.titles[it]));
    // A flow that contains all stages of another one is never the better choice.
    return open.filter((mine, i) => !open.some((other, j) => {
        const [less, more] = [work(other), work(mine)];
        const shorter = less.length < more.length || (less.length === more.length && j < i);
        return shorter && less.every((stage) => more.includes(stage));
    }));
}

function chooseFlow() {
    const open = ways();
    if (open.length === 0) {
        throw new Refusal(_("This server asks for something that only an app can do. Create your account with a Matrix app."));
    }
    const same = open.find((way) => String(way) === String(state.flow));
    save({ flow: same ?? (open.length === 1 ? open[0] : null) });
}

/** Have the person choose a way: each has a line that says what it asks for. */
export function showChoice(signal) {
    const open = ways();
    const form = element("form");
    form.append(...open.map((stages, number) => {
        const shown = stages.map((stage) => state.titles[stage]).filter(Boolean);
        const button = element("button", "", { class: "choice", value: number });
        button.append(element("strong", shown.map(({ title }) => title).join(" + ")));
        button.append(...shown.map(({ about }) => about && element("span", about)).filter(Boolean));
        return button;
    }));
    onSubmit(form, signal, async (number) => {
        save({ flow: open[number] });
        const next = nextStage();
        await (next ? go(stepOf(next)) : advance(signal));
    });
    present(_("How would you like to go on?"), [form], true);
}

/** The button that leaves a step for another way; nothing if there is only one. */
export function leaveButtons() {
    if (ways().length < 2) {
        return [];
    }
    const button = element("button", _("Choose another way"), { type: "button", class: "quiet" });
    button.addEventListener("click", () => go("choice"));
    return [button];
}
