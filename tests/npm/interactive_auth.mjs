// Registers with matrix-js-sdk's InteractiveAuth, as Element and others do.
//
// Reads {baseUrl, username, password, answers} from standard input; `answers` maps a stage to
// the fields of its auth dict, those of stages that the SDK cannot do by itself. Prints
// {registered} or {failed}, with the stages in the order in which the SDK asked for them.
import { readFileSync } from "node:fs";
import { createClient, InteractiveAuth } from "matrix-js-sdk";
import { logger } from "matrix-js-sdk/lib/logger.js";

logger.disableAll?.();
const { baseUrl, username, password, answers } = JSON.parse(readFileSync(0, "utf8"));
const client = createClient({ baseUrl, logger });
const asked = [];

const dialogue = new InteractiveAuth({
    matrixClient: client,
    doRequest: (auth) => client.registerRequest({ username, password, auth: auth ?? undefined }),
    stateUpdated: (stage, status) => {
        if (status.errcode) {
            throw new Error(`${stage}: ${status.errcode}`);
        }
        asked.push(stage);
        const type = stage;
        void dialogue.submitAuthDict({ type, session: dialogue.getSessionId(), ...answers[type] });
    },
    busyChanged: () => {},
    supportedStages: ["m.login.dummy", ...Object.keys(answers)],
    requestEmailToken: () => Promise.reject(new Error("nobody asked for a mail")),
});

try {
    const registered = await dialogue.attemptAuth();
    const me = await createClient({ baseUrl, accessToken: registered.access_token, logger }).whoami();
    console.log(JSON.stringify({ registered, me, asked }));
} catch (error) {
    console.log(JSON.stringify({ failed: `${error.name}: ${error.message}`, asked }));
}
