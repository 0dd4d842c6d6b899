// The registration page's steps for m.login.email.identity and m.login.msisdn, which have no page of
// their own: an address is asked for, a message is sent to it, and its code comes back, or the link
// in a mail is opened anywhere.

const client_secret = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0")).join("");
const steps = new Map(); // what has become of the step of each stage

/** How each stage asks for an address: what of its form is sent, and what is said of that. */
const kinds = {
    "m.login.email.identity": {
        wish: ({ email }) => ({ email: email.value }),
        first: "email",
        address: ({ email }) => email,
        done: (_, address) => _("We have sent a mail to {address}.", { address }),
        again: (_, address) => _("We have sent another mail to {address}.", { address }),
    },
    "m.login.msisdn": {
        wish: ({ country, phone_number }) => (
            { country: country.value, phone_number: phone_number.value }
        ),
        first: "phone_number",
        // Where it went, and not what was typed.
        address: ({ phone_number }, { intl_fmt }) => intl_fmt ?? phone_number,
        done: (_, address) => _("We have sent a text message to {address}.", { address }),
        again: (_, address) => _("We have sent another text message to {address}.", { address }),
        prepare: nameCountries,
    },
};

/**
 * What /register is to be told once the person says that it is proven. `forms` is the template of
 * the step; `page` is what the registration page lends: place, post, busy, complain, session, _.
 * `failure`: it was not proven.
 */
export async function proveAddress(stage, forms, page, failure) {
    if (!steps.has(stage)) {
        const [addressForm, codeForm] = forms.content.querySelectorAll("form");
        kinds[stage].prepare?.(addressForm);
        // sent: what was asked for and what the answer was, once there is one.
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

/** Give countries their names in the reader's language, in its order; choose the likeliest. */
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
    // What is shown is a copy, which takes its choice from here.
    country.selectedOptions[0].setAttribute("selected", "");
}

async function askForAddress(page, step) {
    const form = page.place(step.addressForm);
    const field = form.elements[step.first];
    for (const [name, value] of Object.entries(step.sent?.wish ?? {})) {
        form.elements[name].value = value;
    }
    do {
        await submitted(form);
    } while (!await managed(page, form, field, () => send(page, step, step.wish(form.elements))));
}

/** Whether the person says that the address is proven, and not that it is another one. */
async function askForProof(page, step, failure) {
    const address = step.address(step.sent.wish, step.sent.answer);
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
            if (await managed(page, form, null, () => send(page, step, step.sent.wish))) {
                status.textContent = step.again(page._, address);
            }
        } else if (await managed(page, form, field, () => confirm(page, step, field.value))) {
            return true;
        }
    }
}

async function send(page, step, wish) {
    step.attempts += 1;
    const body = { ...wish, client_secret, send_attempt: step.attempts, session: page.session() };
    step.sent = { wish, answer: await page.post(step.request, body) };
}

function confirm(page, step, token) {
    return page.post(step.submit, { sid: step.sent.answer.sid, client_secret, token });
}

function submitted(form) {
    return new Promise((resolve) => form.addEventListener("submit", resolve, { once: true }));
}

/** Whether the work was done; else the form says why not. */
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
