// The registration page: name and password, then the stages that the server requires.
//
// The form of a stage comes from its fallback page (/auth/{stage}/fallback/web): it is shown here
// and sent there. The dummy stage has no page; neither have the stages for email address and phone
// number, whose steps are in addresses.js.

const DUMMY = "m.login.dummy";
const APPROVAL = "ORG.MATRIX.MSC3866_USER_AWAITING_APPROVAL";

const root = document.getElementById("register");
const [account, step, welcome] = ["account", "step", "welcome"].map(find);
// The forms of the steps for addresses, by stage, as far as the server validates them.
const proofs = new Map([...document.querySelectorAll("template[data-stage]")].map(
    (forms) => [forms.dataset.stage, forms],
));
const [username, password] = ["username", "password"].map(find);
const catalogue = JSON.parse(find("catalogue").textContent);
const api = root.dataset.api;
const UNREACHABLE = _("The server cannot be reached. Check your connection and try again.");

let session; // the id of the UIA session, once there is one
let flow; // the stages of the chosen flow
const titles = new Map(); // the title of each stage's page; null if it has none
const tasks = new Map(); // what each stage asks of the person, in the first words of its form

/** An error of the server, with a message for the person and the errcode. */
class Refusal extends Error {
    constructor(text, errcode) {
        super(text && _(text));
        this.errcode = errcode ?? "";
    }
}

function find(id) {
    return document.getElementById(id);
}

/** The sentence in the reader's language, if there is a translation, with {names} filled in. */
function _(sentence, values = {}) {
    const text = catalogue[sentence] ?? sentence;
    return text.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
}

function element(name, text, attributes = {}) {
    const made = document.createElement(name);
    made.textContent = text;
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    return made;
}

async function ask(url, options) {
    try {
        return await fetch(url, options);
    } catch {
        throw new Refusal(UNREACHABLE, UNREACHABLE);
    }
}

/** The JSON body of a response; an error if a proxy has answered in the server's place. */
function told(answer) {
    return answer.json().catch(() => ({ error: `${answer.status} ${answer.statusText}` }));
}

// --- Requests to the server -----------------------------------------------------------------

/** The body of the response to a POST, or a Refusal. */
async function post(url, body) {
    const answer = await ask(url, { method: "POST", body: JSON.stringify(body) });
    const { errcode, error, ...rest } = await told(answer);
    if (!answer.ok) {
        throw new Refusal(error, errcode);
    }
    return rest;
}

/** One POST /register; the body of its response, which has flows if there are stages to pass. */
async function register(auth) {
    const body = { username: chosenName(), password: password.value, inhibit_login: true };
    if (session) {
        body.auth = { ...auth, session };
    }
    const answer = await ask(`${api}register`, { method: "POST", body: JSON.stringify(body) });
    const { flows, errcode, error, ...rest } = await told(answer);
    if (answer.ok || errcode === APPROVAL) {
        return { notice: error, user_id: matrixID(), ...rest };
    }
    if (answer.status === 401 && flows) {
        session = rest.session;
        return { flows, error, completed: rest.completed ?? [] };
    }
    if (session && answer.status === 400 && errcode === "M_UNKNOWN") {
        session = undefined; // it has expired: all stages must be passed again
        return register({});
    }
    throw new Refusal(error, errcode);
}

/** From name and password to the account, or to a Refusal. */
async function proceed() {
    let answer = await register({});
    while (answer.flows) {
        flow ??= await choose(answer.flows.map((offered) => offered.stages));
        const stage = flow.find((type) => !answer.completed.includes(type)) ?? DUMMY;
        answer = await register(await perform(stage, answer.error && _(answer.error)));
    }
    find("user-id").textContent = answer.user_id;
    find("approval").hidden = !answer.notice;
    find("approval").textContent = answer.notice && _(answer.notice);
    password.value = "";
    show(welcome, withPages(flow ?? []).length + 1);
}

/** Have the person pass the stage; returns its auth dict. */
async function perform(stage, failure) {
    if (stage === DUMMY) {
        return { type: DUMMY };
    }
    const forms = proofs.get(stage);
    if (forms) {
        const { proveAddress } = await import(forms.dataset.script);
        const place = (form, why) => placeForm(stage, forms.dataset.title, form, why);
        const page = { place, post, busy, complain, _, session: () => session };
        return proveAddress(stage, forms, page, failure);
    }
    await pass(stage, failure);
    return {};
}

/** The flow, of those that this page supports: the only one, or the one that the person chooses. */
async function choose(flows) {
    for (const stage of new Set(flows.flat())) {
        titles.set(stage, await titleOf(stage));
    }
    const work = (stages) => stages.filter((stage) => stage !== DUMMY);
    const open = flows.filter((stages) => work(stages).every((stage) => titles.get(stage)));
    // A flow that contains all stages of another one is never the better choice.
    const ways = open.filter((mine, i) => !open.some((other, j) => {
        const [less, more] = [work(other), work(mine)];
        const shorter = less.length < more.length || (less.length === more.length && j < i);
        return shorter && less.every((stage) => more.includes(stage));
    }));
    if (ways.length === 0) {
        throw new Refusal(_("This server asks for something that only an app can do. Create your account with a Matrix app."));
    }
    return ways.length === 1 ? ways[0] : askWhich(ways);
}

function askWhich(ways) {
    return new Promise((resolve) => {
        const buttons = ways.map((stages) => {
            const button = element("button", titlesOf(stages).join(" + "), { class: "choice" });
            const asked = withPages(stages).map((stage) => tasks.get(stage)).filter(Boolean);
            if (asked.length) {
                button.append(" ", element("small", asked.join(" ")));
            }
            button.addEventListener("click", () => resolve(stages), { once: true });
            return button;
        });
        const question = _("How would you like to go on?");
        step.replaceChildren(element("h2", question, { tabindex: -1 }), ...buttons);
        show(step, 1, [question]);
    });
}

// --- A stage, by its fallback page -----------------------------------------------------------

function addressOf(stage) {
    return `${api}auth/${encodeURIComponent(stage)}/fallback/web`;
}

/** The title of a stage's step; null if the person has nothing to do, or the page cannot do it. */
async function titleOf(stage) {
    const forms = proofs.get(stage);
    if (forms) {
        tasks.set(stage, firstWords(forms.content));
        return forms.dataset.title;
    }
    const page = stage === DUMMY ? null : await load(`${addressOf(stage)}?session=${session}`);
    tasks.set(stage, page && firstWords(page));
    return page && headingOf(page);
}

function firstWords(page) {
    return page.querySelector("form p:not([role])")?.textContent;
}

function headingOf(page) {
    return page.querySelector("h1").textContent;
}

/** A stage's page, whether it is passed or not; null if the stage has none. */
async function load(url, options) {
    const answer = await ask(url, options);
    if (answer.status === 404) {
        return null;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!answer.ok && !page.querySelector("form")) {
        throw new Refusal(page.querySelector("[role=alert]")?.textContent ?? answer.statusText);
    }
    return page;
}

/** Show the stage's form until the stage is passed, when its page no longer has a form. */
async function pass(stage, failure) {
    const page = await load(`${addressOf(stage)}?session=${session}`);
    let form = showForm(stage, page, failure);
    while (form) {
        await new Promise((resolve) => form.addEventListener("submit", resolve, { once: true }));
        const body = new URLSearchParams(new FormData(form));
        try {
            const next = await busy(form, load(addressOf(stage), { method: "POST", body }));
            form = showForm(stage, next);
        } catch (error) {
            if (error.errcode !== UNREACHABLE) {
                throw error;
            }
            complain(form, error.message);
        }
    }
}

function showForm(stage, page, failure) {
    const received = page.querySelector("form");
    if (!received) {
        return null;
    }
    const form = placeForm(stage, headingOf(page), received, failure);
    // Browsers do not run scripts of a fetched page; copies that are created here run.
    for (const dead of form.querySelectorAll("script")) {
        const script = element("script", dead.textContent);
        [...dead.attributes].forEach(({ name, value }) => script.setAttribute(name, value));
        dead.replaceWith(script);
    }
    if (stage === "m.login.registration_token") {
        prefillToken(form);
    }
    return form;
}

/** Fill in the registration token of the link that led here, unless the server has refused it. */
function prefillToken(form) {
    const { token: field } = form.elements;
    if (field && field.getAttribute("aria-invalid") !== "true") {
        field.value = new URLSearchParams(location.search).get("token") ?? "";
    }
}

/** Show a copy of this form as the stage's step; returns the copy. */
function placeForm(stage, title, original, failure) {
    const form = document.importNode(original, true);
    form.addEventListener("submit", (event) => event.preventDefault());
    step.replaceChildren(element("h2", title, { tabindex: -1 }), form);
    if (failure) {
        complain(form, failure);
    }
    show(step, 1 + withPages(flow).indexOf(stage));
    form.querySelector("[aria-invalid=true]")?.focus();
    return form;
}

/** Wait for the work; meanwhile the form cannot be sent again. */
async function busy(form, work) {
    const buttons = [...form.querySelectorAll("button")];
    buttons.forEach((button) => (button.disabled = true));
    try {
        return await work;
    } finally {
        buttons.forEach((button) => (button.disabled = false));
    }
}

// --- Display ---------------------------------------------------------------------------------

function withPages(stages) {
    return stages.filter((stage) => titles.get(stage));
}

function titlesOf(stages) {
    return withPages(stages).map((stage) => titles.get(stage));
}

/** Show only this part, with the step's number, and move the focus to its heading. */
function show(part, number, between = titlesOf(flow ?? [])) {
    [account, step, welcome].forEach((other) => (other.hidden = other !== part));
    const steps = [_("Name and password"), ...between, _("Done")];
    root.querySelector(".progress").replaceChildren(...steps.map((title, i) => element(
        "li",
        title,
        i === number ? { "aria-current": "step" } : i < number ? { class: "good" } : {},
    )));
    part.querySelector("h2").focus();
}

function complain(form, text, field) {
    form.querySelectorAll("[role=alert]").forEach((old) => old.remove());
    form.prepend(element("p", text, { role: "alert" }));
    field?.focus();
}

// --- Name and password -----------------------------------------------------------------------

/** Lower-cases as the server does: A to Z only. */
function chosenName() {
    return username.value.trim().replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

function matrixID() {
    return `@${chosenName()}:${root.dataset.serverName}`;
}

const rules = [...find("rules").children];
password.addEventListener("input", () => {
    for (const rule of rules) {
        const met = new RegExp(rule.dataset.pattern, "su").test(password.value);
        rule.className = met ? "good" : "";
    }
});

find("reveal").addEventListener("change", (event) => {
    password.type = event.target.checked ? "text" : "password";
});

account.addEventListener("submit", async (event) => {
    event.preventDefault();
    const unmet = rules.filter((rule) => rule.className !== "good").map((rule) => rule.textContent);
    if (unmet.length) {
        const lacks = _("The password still lacks: {rules}", { rules: unmet.join("; ") });
        complain(account, lacks, password);
        return;
    }
    account.querySelectorAll("[role=alert]").forEach((old) => old.remove());
    try {
        await busy(account, proceed());
    } catch (error) {
        show(account, 0);
        const field = /USER|EXCLUSIVE/.test(error.errcode) ? username
            : /PASSWORD/.test(error.errcode) ? password : null;
        complain(account, error.message, field);
    }
});

// Checking while the name is typed is only a help: if it fails, the server still checks at the end.
await import(root.dataset.names)
    .then(({ tellNames }) => tellNames({ ask, told, _, chosenName, matrixID }))
    .catch(() => {});
root.hidden = false;
show(account, 0);
