// The steps for m.login.email.identity and m.login.msisdn: the person enters an address, gets a
// message, and enters its code. Or opens the link of a mail anywhere: then this goes on by itself.

import { _, element } from "./dom.js";
import { post } from "./requests.js";
import { proofs } from "./stages.js";
import { CODE, save, state } from "./state.js";
import { complain, go, isBusy, onSubmit, present, refuse } from "./steps.js";
import { watch } from "./watch.js";

/** The request that each stage sends for an address, and the sentences about it. */
const kinds = {
    "m.login.email.identity": {
        fields: ({ email }) => ({ email: email.value }),
        first: "email",
        address: ({ email }) => email,
        hasLink: true,
        done: (address) => _("We have sent a mail to {address}.", { address }),
        again: (address) => _("We have sent another mail to {address}.", { address }),
    },
    "m.login.msisdn": {
        fields: ({ country, phone_number }) => (
            { country: country.value, phone_number: phone_number.value }
        ),
        first: "phone_number",
        // The number that the server has understood, not what was typed.
        address: ({ phone_number }, intl_fmt) => intl_fmt ?? phone_number,
        hasLink: false,
        done: (address) => _("We have sent a text message to {address}.", { address }),
        again: (address) => _("We have sent another text message to {address}.", { address }),
    },
};

/** The step that asks for the address. `flow` has functions of flows.js. */
export function showAddress(stage, signal, failure, flow) {
    const forms = proofs.get(stage);
    const form = document.importNode(forms.content.querySelector("form"), true);
    if (form.elements.country) {
        listCountries(form.elements.country);
    }
    for (const [name, value] of Object.entries(state.proofs[stage]?.fields ?? {})) {
        form.elements[name].value = value;
    }
    present(forms.dataset.title, [form, ...flow.leaveButtons()]);
    const field = form.elements[kinds[stage].first];
    if (failure) {
        complain(form, failure.message, field);
    }
    onSubmit(form, signal, async () => {
        await atField(field, () => send(stage, kinds[stage].fields(form.elements)));
        if (!signal.aborted) {
            go(stage + CODE);
        }
    });
}

/** The step that asks for the code, until the address is confirmed. */
export function showCode(stage, signal, failure, flow) {
    const { content, dataset } = proofs.get(stage);
    const kind = kinds[stage];
    const { fields, intl_fmt, client_secret } = state.proofs[stage];
    const address = kind.address(fields, intl_fmt);
    const form = document.importNode(content.querySelectorAll("form")[1], true);
    const sent = form.querySelector("[role=status]");
    const field = form.elements.code;
    const creds = () => ({ sid: state.proofs[stage].sid, client_secret });
    const prove = () => flow.advance(signal, { type: stage, threepid_creds: creds() });
    present(dataset.title, [form, ...flow.leaveButtons()]);
    sent.textContent = kind.done(address);
    if (failure) {
        complain(form, failure.message, field);
    }
    const acts = {
        again: async () => {
            sent.textContent = "";
            await send(stage, fields);
            sent.textContent = kind.again(address);
        },
        code: async () => {
            const body = { ...creds(), token: field.value };
            await atField(field, () => post(dataset.submit, body));
            await prove();
        },
    };
    onSubmit(form, signal, (act) => acts[act ?? "code"]());
    form.querySelector("[name=other]").addEventListener("click", () => go(stage));
    const isWaiting = ({ status, waitMs }) => (
        waitMs || status === 0 || (status === 401 && flow.nextStage() === stage)
    );
    watch(signal, async () => {
        if (!isBusy(form)) {
            await prove().catch((error) => {
                if (!isWaiting(error)) {
                    return refuse(error, form, signal);
                }
                throw error;
            });
        }
    }, kind.hasLink);
}

/** Have a message sent there. An attempt has its number until it has succeeded, so that a lost
 * answer causes no second message. */
async function send(stage, fields) {
    const { client_secret = newSecret(), attempts = 0 } = state.proofs[stage] ?? {};
    const proof = { client_secret, fields, attempts: attempts + 1 };
    const body = { ...fields, client_secret, send_attempt: proof.attempts, session: state.session };
    save({ proofs: { ...state.proofs, [stage]: { ...state.proofs[stage], client_secret } } });
    const { sid, intl_fmt } = await post(proofs.get(stage).dataset.request, body);
    save({ proofs: { ...state.proofs, [stage]: { ...proof, sid, intl_fmt } } });
}

function newSecret() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The work, whose refusals are about this field. */
async function atField(field, work) {
    try {
        return await work();
    } catch (error) {
        throw Object.assign(error, { field });
    }
}

/** List the countries in the reader's language, and choose the likeliest. */
function listCountries(country) {
    const language = document.documentElement.lang;
    const names = new Intl.DisplayNames([language], { type: "region" });
    const options = country.dataset.prefixes.split(" ").map((entry) => {
        const [code, prefix] = [entry.slice(0, 2), entry.slice(2)];
        return element("option", `${names.of(code)} (+${prefix})`, { value: code });
    });
    options.sort((a, b) => a.textContent.localeCompare(b.textContent, language));
    country.replaceChildren(...options);
    const here = new Intl.Locale(navigator.language).maximize().region;
    country.value = options.some(({ value }) => value === here) ? here : options[0].value;
}
