// The registration page's steps for m.login.email.identity and m.login.msisdn, which have no
// fallback page: the person enters an address, gets a message, and enters its code, or opens the link
// of a mail anywhere.

const client_secret = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0")).join("");
const steps = new Map(); // the state of each stage's step

/** The request that each stage sends for an address, and the sentences about it. */
const kinds = {
    "m.login.email.identity": {
        fields: ({ email }) => ({ email: email.value }),
        first: "email",
        address: ({ email }) => email,
        done: (_, address) => _("We have sent a mail to {address}.", { address }),
        again: (_, address) => _("We have sent another mail to {address}.", { address }),
    },
    "m.login.msisdn": {
        fields: ({ country, phone_number }) => (
            { country: country.value, phone_number: phone_number.value }
        ),
        first: "phone_number",
        // The number that the server has understood, not what was typed.
        address: ({ phone_number }, { intl_fmt }) => intl_fmt ?? phone_number,
        done: (_, address) => _("We have sent a text message to {address}.", { address }),
        again: (_, address) => _("We have sent another text message to {address}.", { address }),
        prepare: nameCountries,
    },
};

/**
 * The auth dict for /register, once the person says that the address is confirmed. `forms` is the
 * template of the step; `page` has functions of the registration page: place, post, busy, complain,
 * session, _. `failure`: the error if the address turned out not to be confirmed.
 */
export async function proveAddress(stage, forms, page, failure) {
    if (!steps.has(stage)) {
        const [addressForm, codeForm] = forms.content.querySelectorAll("form");
        kinds[stage].prepare?.(addressForm);
        // sent: the request and its answer, once there is one.
        const parts = { ...forms.dataset, addressForm, codeForm };
        steps.set(stage, { ...kinds[stage], ...parts, sent: null, attempts: 0 });
    }
    const step = steps.get(stage);
    if (!step.sent) {
        await askForAddress(page, step);
    }
    while (!await askForProof(page, step, failure)) {
        failure = undefined;
        await askForAddress(page, step);
    }
    return { type: stage, threepid_creds: { sid: step.sent.answer.sid, client_secret } };
}

/** Name and sort the countries in the reader's language, and choose the likeliest. */
function nameCountries(form) {
    const { country } = form.elements;
    const language = document.documentElement.lang;
    const names = new Intl.DisplayNames([language], { type: "region" });
    const options = [...country.options];
    for (const option of options) {
        option.textContent = `${names.of(option.value)} (+${option.dataset.prefix})`;
    }
    options.sort((a, b) => a.textContent.localeCompare(b.textContent, language));
    country.replaceChildren(...options);
    const here = new Intl.Locale(navigator.language).maximize().region;
    country.value = options.some(({ value }) => value === here) ? here : options[0].value;
    // The page shows a copy of the form, which gets its choice from here.
    country.selectedOptions[0].setAttribute("selected", "");
}

async function askForAddress(page, step) {
    const form = page.place(step.addressForm);
    const field = form.elements[step.first];
    for (const [name, value] of Object.entries(step.sent?.fields ?? {})) {
        form.elements[name].value = value;
    }
    do {
        await submitted(form);
    } while (!await managed(page, form, field, () => send(page, step, step.fields(form.elements))));
}

/** Whether the person says that the address is confirmed, and does not want another address. */
async function askForProof(page, step, failure) {
    const address = step.address(step.sent.fields, step.sent.answer);
    const form = page.place(step.codeForm, failure);
    const field = form.elements.code;
    const status = form.querySelector("[role=status]");
    status.textContent = step.done(page._, address);
    for (;;) {
        const act = (await submitted(form)).submitter?.value;
        if (act === "other" || act === "opened") {
            return act === "opened";
        }
        if (act === "again") {
            status.textContent = "";
            if (await managed(page, form, null, () => send(page, step, step.sent.fields))) {
                status.textContent = step.again(page._, address);
            }
        } else if (await managed(page, form, field, () => confirm(page, step, field.value))) {
            return true;
        }
    }
}

async function send(page, step, fields) {
    step.attempts += 1;
    const body = { ...fields, client_secret, send_attempt: step.attempts, session: page.session() };
    step.sent = { fields, answer: await page.post(step.request, body) };
}

function confirm(page, step, token) {
    return page.post(step.submit, { sid: step.sent.answer.sid, client_secret, token });
}

function submitted(form) {
    return new Promise((resolve) => form.addEventListener("submit", resolve, { once: true }));
}

/** Whether the work succeeded; otherwise the form shows the error. */
async function managed(page, form, field, work) {
    form.querySelectorAll("[role=alert]").forEach((old) => old.remove());
    try {
        await page.busy(form, work());
        return true;
    } catch (error) {
        page.complain(form, error.message, field);
        return false;
    }
}
