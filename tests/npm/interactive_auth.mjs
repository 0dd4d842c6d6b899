// Registers with matrix-js-sdk's InteractiveAuth, as Element and others do.
//
// Reads {baseUrl, username, password, answers} from standard input; `answers` maps a stage to
// the fields of its auth dict, those of stages that the SDK cannot do by itself. With {email} the
// SDK validates that address: it prints {sid} once a mail was requested, and goes on when {code} has
// come by standard input; logs in by it, and removes it from the account. With {more} it then adds that
// address, in the same way and by password. Prints {registered, me, held, added} or {failed}, with the
// stages in the order in which the SDK asked for them.
import { createInterface } from "node:readline";
import { createClient, InteractiveAuth } from "matrix-js-sdk";
import { logger } from "matrix-js-sdk/lib/logger.js";

logger.disableAll?.();
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const read = async () => JSON.parse((await lines.next()).value);
const { baseUrl, username, password, answers, email, more } = await read();
const client = createClient({ baseUrl, logger });
const asked = [];
let registered;
const EMAIL = "m.login.email.identity";
const SUBMIT = "/_matrix/client/unstable/registration/email/submit_token";
const SUBMIT_TO_ADD = "/_matrix/client/unstable/add_threepid/email/submit_token";

/** As clients do: request a mail, and poll for its code. */
async function requestEmailToken(address, client_secret, attempt) {
    const { sid } = await client.requestRegisterEmailToken(address, client_secret, attempt);
    void confirm(sid, client_secret);
    return { sid };
}

/** Submit the code of the mail, as the user would. */
async function submit(path, sid, client_secret) {
    console.log(JSON.stringify({ sid }));
    const { code } = await read();
    const body = JSON.stringify({ sid, client_secret, token: code });
    await fetch(baseUrl + path, { method: "POST", body });
}

async function confirm(sid, client_secret) {
    await submit(SUBMIT, sid, client_secret);
    while (!registered) {
        await interactive.poll();
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
}

/** The account's addresses before and after the removal, by a login with the address. */
async function loginAndRemove() {
    const identifier = { type: "m.id.thirdparty", medium: "email", address: email };
    const { access_token } = await client.loginRequest({ type: "m.login.password", identifier, password });
    const own = createClient({ baseUrl, accessToken: access_token, logger });
    const before = (await own.getThreePids()).threepids;
    await own.deleteThreePid("email", email);
    return [before, (await own.getThreePids()).threepids];
}

/** As Element's settings do: the addresses of the account before it is confirmed, and after it. */
async function add(own, address) {
    const client_secret = own.generateClientSecret();
    const { sid } = await own.requestAdd3pidEmailToken(address, client_secret, 1);
    await submit(SUBMIT_TO_ADD, sid, client_secret);
    const before = (await own.getThreePids()).threepids;
    const settings = new InteractiveAuth({
        matrixClient: own,
        doRequest: (auth) => own.addThreePidOnly({ sid, client_secret, auth: auth ?? undefined }),
        stateUpdated: (stage, status) => {
            if (status.errcode) {
                throw new Error(`${stage}: ${status.errcode}`);
            }
            asked.push(stage);
            const identifier = { type: "m.id.user", user: own.getUserId() };
            void settings.submitAuthDict({ type: stage, identifier, user: own.getUserId(), password });
        },
        busyChanged: () => {},
        supportedStages: ["m.login.password"],
        requestEmailToken: () => { throw new Error("unexpected request for a mail"); },
    });
    await settings.attemptAuth();
    return [before, (await own.getThreePids()).threepids];
}

const interactive = new InteractiveAuth({
    matrixClient: client,
    doRequest: (auth) => client.registerRequest({ username, password, auth: auth ?? undefined }),
    stateUpdated: (stage, status) => {
        if (status.errcode) {
            throw new Error(`${stage}: ${status.errcode}`);
        }
        asked.push(stage);
        if (stage === EMAIL) {
            return; // it is passed by asking
        }
        const type = stage;
        void interactive.submitAuthDict({ type, session: interactive.getSessionId(), ...answers[type] });
    },
    busyChanged: () => {},
    supportedStages: ["m.login.dummy", EMAIL, ...Object.keys(answers)],
    inputs: { emailAddress: email },
    requestEmailToken,
});

try {
    registered = await interactive.attemptAuth();
    const { access_token: accessToken, user_id: userId } = registered;
    const own = createClient({ baseUrl, accessToken, userId, logger });
    const me = await own.whoami();
    const held = email && await loginAndRemove();
    const added = more && await add(own, more);
    console.log(JSON.stringify({ registered, me, held, added, asked }));
} catch (error) {
    console.log(JSON.stringify({ failed: `${error.name}: ${error.message}`, asked }));
}
process.exit();
