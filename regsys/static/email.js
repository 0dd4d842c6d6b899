// The registration page's step for m.login.email.identity, which has no page of its own: an address
// is asked for, a mail is sent to it, and its code comes back, or its link is opened anywhere.

export const EMAIL = "m.login.email.identity";

const forms = document.getElementById("email");
const { request, submit } = forms.dataset;
const [addressForm, codeForm] = forms.content.querySelectorAll("form");
const client_secret = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0")).join("");

let sent; // the address that has a mail, and the sid of its proof; undefined: none has
let send_attempt = 0;

/**
 * What /register is to be told once the person says that it is proven. `page` is what the
 * registration page lends: place, post, busy, complain, session, _. `failure`: it was not.
 */
export async function proveAddress(page, failure) {
    if (!sent) {
        await askForAddress(page);
    }
    while (!await askForProof(page, failure)) {
        failure = undefined;
        await askForAddress(page);
    }
    return { type: EMAIL, threepid_creds: { sid: sent.sid, client_secret } };
}

async function askForAddress(page) {
    const form = page.place(addressForm);
    const field = form.elements.email;
    field.value = sent?.email ?? "";
    do {
        await submitted(form);
    } while (!await managed(page, form, field, () => send(page, field.value)));
}

/** Whether the person says that the address is proven, and not that it is another one. */
async function askForProof(page, failure) {
    const { _ } = page;
    const form = page.place(codeForm, failure);
    const field = form.elements.code;
    const status = form.querySelector("[role=status]");
    status.textContent = _("We have sent a mail to {address}.", { address: sent.email });
    for (;;) {
        const act = (await submitted(form)).submitter?.value;
        if (act === "other" || act === "opened") {
            return act === "opened";
        }
        if (act === "again") {
            status.textContent = "";
            if (await managed(page, form, null, () => send(page, sent.email))) {
                status.textContent = _("We have sent another mail to {address}.", { address: sent.email });
            }
        } else if (await managed(page, form, field, () => confirm(page, field.value))) {
            return true;
        }
    }
}

async function send(page, email) {
    send_attempt += 1;
    const body = { email, client_secret, send_attempt, session: page.session() };
    sent = { email, sid: (await page.post(request, body)).sid };
}

function confirm(page, token) {
    return page.post(submit, { sid: sent.sid, client_secret, token });
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
