// Clients with end-to-end encryption, by matrix-js-sdk, as Element and others are.
//
// Reads a line of JSON for each step, [client, step, ...arguments], and prints one with what it returns,
// or with {failed: {status, errcode, message}}. A client is made by its first step: `logIn`, or `begin` if it
// has no account.
import { createInterface } from "node:readline";
import { ClientEvent, createClient, MatrixEventEvent } from "matrix-js-sdk";
import { logger } from "matrix-js-sdk/lib/logger.js";

logger.disableAll?.();
// The wasm and the SDK have their own ways to the console; our lines have it alone.
const print = (value) => process.stdout.write(`${JSON.stringify(value ?? null)}\n`);
for (const level of ["trace", "debug", "info", "log", "warn", "error"]) {
    console[level] = () => {};
}
// The SDK waits up to ten seconds, by chance, before it writes a backup.
Math.random = () => 0;

const clients = {};
const STAGE = "org.matrix.cross_signing_reset";

/** Return once the condition holds. */
async function when(condition) {
    while (!(await condition())) {
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

class Client {
    bodies = [];
    recoveryKey = null;

    begin(baseUrl) {
        this.sdk = createClient({ baseUrl, logger });
    }

    /** Log in by password; returns what the server answered. */
    async logIn(baseUrl, user, password) {
        const identifier = { type: "m.id.user", user };
        const login = await createClient({ baseUrl, logger }).loginRequest({ type: "m.login.password", identifier, password });
        const { access_token: accessToken, user_id: userId, device_id: deviceId } = login;
        const cryptoCallbacks = {
            getSecretStorageKey: async ({ keys }) => [Object.keys(keys)[0], this.recoveryKey],
            cacheSecretStorageKey: (_id, _info, key) => { this.recoveryKey = key; },
        };
        this.sdk = createClient({ baseUrl, accessToken, userId, deviceId, logger, cryptoCallbacks });
        return login;
    }

    /** Begin to sync, with encryption; returns once it has synced. */
    async start() {
        await this.sdk.initRustCrypto({ useIndexedDB: false });
        const heard = (event) => {
            if (event.getType() === "m.room.message") {
                this.bodies.push(event.getContent().body);
            }
        };
        this.sdk.on(ClientEvent.Event, heard);
        this.sdk.on(MatrixEventEvent.Decrypted, heard);
        const synced = new Promise((resolve) => {
            this.sdk.on(ClientEvent.Sync, (state) => state === "PREPARED" && resolve());
        });
        await this.sdk.startClient();
        await synced;
    }

    /** Make cross-signing keys, a recovery key, and a backup, without being asked for anything. */
    async setUp() {
        const crypto = this.sdk.getCrypto();
        await crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: (send) => send(null) });
        const made = await crypto.createRecoveryKeyFromPassphrase();
        await crypto.bootstrapSecretStorage({
            createSecretStorageKey: async () => made,
            setupNewKeyBackup: true,
        });
        return [...made.privateKey];
    }

    /** Verify this device by the recovery key, and fetch the backup; the number of its keys. */
    async recover(key) {
        this.recoveryKey = Uint8Array.from(key);
        const crypto = this.sdk.getCrypto();
        await when(() => crypto.userHasCrossSigningKeys());
        await crypto.bootstrapCrossSigning({});
        await crypto.loadSessionBackupPrivateKeyFromSecretStorage();
        await crypto.checkKeyBackupAndEnable();
        return (await crypto.restoreKeyBackup()).imported;
    }

    /** Replace the cross-signing keys. The first call gets the URL of the page where its user must
        allow that, the second one, after it, null. */
    async resetKeys() {
        let url = null;
        const authUploadDeviceSigningKeys = async (send) => {
            try {
                await send(null);
            } catch (error) {
                url = error.data?.params?.[STAGE]?.url;
                throw error;
            }
        };
        const options = { setupNewCrossSigning: true, authUploadDeviceSigningKeys };
        await this.sdk.getCrypto().bootstrapCrossSigning(options).catch((error) => {
            if (!url) {
                throw error;
            }
        });
        return url;
    }

    /** Whether its user, as this client sees them, has signed that device. */
    async isVerified(userId, deviceId) {
        const crypto = this.sdk.getCrypto();
        await crypto.getUserDeviceInfo([userId], true);
        return (await crypto.getDeviceVerificationStatus(userId, deviceId))?.signedByOwner ?? null;
    }

    async makeRoom(...invite) {
        const content = { algorithm: "m.megolm.v1.aes-sha2" };
        const initial_state = [{ type: "m.room.encryption", state_key: "", content }];
        return (await this.sdk.createRoom({ preset: "private_chat", invite, initial_state })).room_id;
    }

    async join(room) {
        await this.sdk.joinRoom(room);
    }

    /** Send a message once this client sees that the room is encrypted and has these members; the
        type of the event that the server has. */
    async send(room, body, ...members) {
        const isThere = (user) => this.sdk.getRoom(room)?.getMember(user)?.membership === "join";
        const isEncrypted = () => this.sdk.getRoom(room)?.hasEncryptionStateEvent();
        await when(() => isEncrypted() && members.every(isThere));
        const { event_id } = await this.sdk.sendTextMessage(room, body);
        return (await this.sdk.fetchRoomEvent(room, event_id)).type;
    }

    /** Return once it has read this message. */
    async reads(body) {
        await when(() => this.bodies.includes(body));
    }

    /** Any method of the SDK's client. */
    async call(name, ...values) {
        return await this.sdk[name](...values);
    }

    async logOut() {
        this.sdk.stopClient();
        await this.sdk.logout(true);
    }
}

for await (const line of createInterface({ input: process.stdin })) {
    const [name, step, ...values] = JSON.parse(line);
    try {
        clients[name] ??= new Client();
        print(await clients[name][step](...values));
    } catch (error) {
        const { httpStatus: status, errcode, message } = error;
        print({ failed: { status, errcode, message } });
    }
}
process.exit(0);
