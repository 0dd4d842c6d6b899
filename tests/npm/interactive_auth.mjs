// Registers with matrix-js-sdk's InteractiveAuth, as Element and others do.
//
// Reads {baseUrl, username, password, answers} from standard input; `answers` maps a stage to
// the fields of its auth dict, those of stages that the SDK cannot do by itself. With {email} the
// SDK proves that address: it prints {sid} once a mail was asked for, and goes on when {code} has come
// by standard input; logs in by it, and takes it from the account. Prints {registered, me, held} or
// {failed}, with the stages in the order in which the SDK asked for them.
import { createInterface } from "node:readline";
import { createClient, InteractiveAuth } from "matrix-js-sdk";
import { logger } from "matrix-js-sdk/lib/logger.js";

logger.disableAll?.();
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const read = async () => JSON.parse((await lines.next()).value);
const { baseUrl, username, password, answers, email } = await read();
const client = createClient({ baseUrl, logger });
const asked = [];
let registered;
const EMAIL = "m.login.email.identity";
const SUBMIT = "/_matrix/client/unstable/registration/email/submit_token";

/** As clients do: have a mail sent, and ask now and then whether its code has come back. */
async function requestEmailToken(address, client_secret, attempt) {
    const { sid } = await client.requestRegisterEmailToken(address, client_secret, attempt);
    void confirm(sid, client_secret);
    return { sid };
}

async function confirm(sid, client_secret) {
    console.log(JSON.stringify({ sid }));
    const { code } = await read();
    const body = JSON.stringify({ sid, client_secret, token: code });
    await fetch(baseUrl + SUBMIT, { method: "POST", body });
    while (!registered) {
        await dialogue.poll();
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
}

/** What the account has before and after its address is removed, by who has logged in with it. */
async function loginAndRemove() {
    const identifier = { type: "m.id.thirdparty", medium: "email", address: email };
    const { access_token } = await client.loginRequest({ type: "m.login.password", identifier, password });
    const own = createClient({ baseUrl, accessToken: access_token, logger });
    const before = (await own.getThreePids()).threepids;
    await own.deleteThreePid("email", email);
    return [before, (await own.getThreePids()).threepids];
}

const dialogue = new InteractiveAuth({
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
        void dialogue.submitAuthDict({ type, session: dialogue.getSessionId(), ...answers[type] });
    },
    busyChanged: () => {},
    supportedStages: ["m.login.dummy", EMAIL, ...Object.keys(answers)],
    inputs: { emailAddress: email },
    requestEmailToken,
});

try {
    registered = await dialogue.attemptAuth();
    const me = await createClient({ baseUrl, accessToken: registered.access_token, logger }).whoami();
    const held = email && await loginAndRemove();
    console.log(JSON.stringify({ registered, me, held, asked }));
} catch (error) {
    console.log(JSON.stringify({ failed: `${error.name}: ${error.message}`, asked }));
}
process.exit();
