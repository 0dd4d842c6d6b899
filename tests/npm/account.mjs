// An account's life with matrix-js-sdk, after its registration, as Element and others lead it.
//
// Reads {baseUrl, username, email, passwords} from standard input. Resets the password by the address
// to the first of `passwords`: prints {sid} once the mail was requested, and goes on when {code} has
// come. Logs in twice, deletes one device, changes the password to the second, and deactivates the
// account. Prints what happened.
import { createInterface } from "node:readline";
import { createClient } from "matrix-js-sdk";
import { logger } from "matrix-js-sdk/lib/logger.js";

logger.disableAll?.();
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const read = async () => JSON.parse((await lines.next()).value);
const { baseUrl, username, email, passwords } = await read();
const [reset, changed] = passwords;
const identifier = { type: "m.id.user", user: username };
const byPassword = (password) => ({ type: "m.login.password", identifier, user: username, password });
const refusal = async (call) => {
    try {
        await call();
    } catch (error) {
        return error;
    }
    return { httpStatus: 200 };
};
const logIn = async (password) => {
    const { access_token: accessToken, user_id: userId, device_id: deviceId } =
        await createClient({ baseUrl, logger }).login("m.login.password", { identifier, password });
    return createClient({ baseUrl, accessToken, userId, deviceId, logger });
};

// As Element does: no session, and the same request until the link was opened.
const anonymous = createClient({ baseUrl, logger });
const client_secret = anonymous.generateClientSecret();
const { sid } = await anonymous.requestPasswordEmailToken(email, client_secret, 1);
const creds = { sid, client_secret };
const byAddress = { type: "m.login.email.identity", threepid_creds: creds, threepidCreds: creds };
const early = (await refusal(() => anonymous.setPassword(byAddress, reset, true))).httpStatus;
console.log(JSON.stringify({ sid }));
const { code: token } = await read();
await fetch(`${baseUrl}/_matrix/client/unstable/password_reset/email/submit_token`, {
    method: "POST",
    body: JSON.stringify({ ...creds, token }),
});
await anonymous.setPassword(byAddress, reset, true);

const client = await logIn(reset);
const other = await logIn(reset);
const capabilities = await client.getCapabilities();
const before = (await client.getDevices()).devices.length;
const challenge = await refusal(() => client.deleteMultipleDevices([other.deviceId]));
const { session } = challenge.data;
await client.deleteMultipleDevices([other.deviceId], { ...byPassword(reset), session });
const after = (await client.getDevices()).devices.map((device) => device.device_id);
const dead = (await refusal(() => other.whoami())).httpStatus;

await client.setPassword(byPassword(reset), changed, true);
const old = (await refusal(() => logIn(reset))).httpStatus;
await (await logIn(changed)).whoami();
const alive = (await refusal(() => client.whoami())).httpStatus;
const ended = await client.deactivateAccount(byPassword(changed), true);
const gone = (await refusal(() => logIn(changed))).httpStatus;
const mine = client.deviceId;
console.log(
    JSON.stringify({ early, capabilities, before, after, mine, dead, old, alive, ended, gone }),
);
process.exit(0);
