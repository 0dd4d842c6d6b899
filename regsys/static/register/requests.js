// Requests to the server, and what to do about its refusals.

import { _, api } from "./dom.js";
import { chosenName, forgetSession, matrixID, save, state } from "./state.js";

const APPROVAL = "ORG.MATRIX.MSC3866_USER_AWAITING_APPROVAL";
const UNKNOWN_WAIT_MS = 5000;

/** An error of the server, or of the way to it, with a message for the person. `status` is 0 if
 * there is no answer; `waitMs`: after which time the server takes the request. */
export class Refusal extends Error {
    constructor(text, { status = 0, errcode = "", waitMs = 0 } = {}) {
        super(text && _(text));
        Object.assign(this, { status, errcode, waitMs });
    }
}

/** The response of any status but 429; otherwise a Refusal. */
export async function ask(url, options) {
    let answer;
    try {
        answer = await fetch(url, options);
    } catch {
        throw new Refusal(_("The server cannot be reached. Check your connection and try again."));
    }
    if (answer.status === 429) {
        const { error, retry_after_ms } = await told(answer);
        const waitMs = retry_after_ms || 1000 * answer.headers.get("Retry-After") || UNKNOWN_WAIT_MS;
        throw new Refusal(error, { status: 429, waitMs });
    }
    return answer;
}

/** The JSON body of a response; an error if a proxy has answered in the server's place. */
export function told(answer) {
    return answer.json().catch(() => ({ error: `${answer.status} ${answer.statusText}` }));
}

/** The body of the response to a POST, or a Refusal. */
export async function post(url, body) {
    const answer = await ask(url, { method: "POST", body: JSON.stringify(body) });
    const { errcode, error, ...rest } = await told(answer);
    if (!answer.ok) {
        throw new Refusal(error, { status: answer.status, errcode });
    }
    return rest;
}

/** One POST /register. `account` has the name and the password, where they are new: the server
 * keeps them with the session. The answer has `user_id`, or the flows on offer. */
export async function register(auth, account) {
    const body = account ? { username: chosenName(), inhibit_login: true, ...account } : {};
    if (state.session) {
        body.auth = { ...auth, session: state.session };
    }
    const answer = await ask(`${api}register`, { method: "POST", body: JSON.stringify(body) });
    const { status } = answer;
    const { flows, session, completed, user_id, errcode, error } = await told(answer);
    if (answer.ok) {
        return { user_id, waits: false };
    }
    if (errcode === APPROVAL) {
        return { user_id: matrixID(), waits: true };
    }
    if (status === 401 && flows) {
        const offered = flows.map(({ stages }) => stages);
        save({ session, flows: offered, completed: completed ?? [] });
        if (error) {
            throw new Refusal(error, { status, errcode });
        }
        return {};
    }
    if (state.session && status === 400 && errcode === "M_UNKNOWN") {
        forgetSession(); // it has expired: all stages must be passed again
        if (account?.password) {
            return register({}, account);
        }
    }
    throw new Refusal(error, { status, errcode });
}

/** Do the work, and whenever it is refused because of too many requests, do it again as soon as
 * that makes sense. `tell` gets the seconds that are left, each second. */
export async function patiently(work, tell, signal) {
    for (;;) {
        try {
            return await work();
        } catch (error) {
            if (!error.waitMs || signal.aborted) {
                throw error;
            }
            await countDown(error.waitMs, tell, signal);
        }
    }
}

async function countDown(waitMs, tell, signal) {
    const until = Date.now() + waitMs; // timers alone would stop while the device sleeps
    for (let left = waitMs; left > 0; left = until - Date.now()) {
        tell(Math.ceil(left / 1000));
        await new Promise((resolve) => setTimeout(resolve, Math.min(left, 1000)));
        signal.throwIfAborted();
    }
    tell(0);
}
