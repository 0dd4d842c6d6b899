// How many guesses a password withstands, roughly: those of people who know the passwords of others,
// keyboards, dates, and the name of the user. It advises; the server's policy decides.

// The most frequent first.
const COMMON = (
    "password qwerty iloveyou admin welcome letmein monkey dragon login master hello princess"
    + " sunshine football baseball shadow superman batman michael jordan freedom whatever trustno"
    + " secret starwars pokemon computer internet summer winter love lovely flower ninja test user"
    + " guest root pass changeme matrix element passwort hallo schatz geheim sommer deutschland"
    + " fussball berlin passwd azerty motdepasse soleil bonjour doudou chouchou jetaime marseille"
    + " france secret amour loulou charlie thomas daniel jessica ashley anthony alexander killer"
    + " pepper ginger cheese banana orange purple samsung google facebook mustang"
).split(" ");
const KEYS = [
    "1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm", "azertyuiop",
    "qsdfghjklm", "wxcvbn", "1qaz2wsx3edc4rfv5tgb", "1q2w3e4r5t6z",
];
const ROWS = [...KEYS, ...KEYS.map((row) => [...row].reverse().join(""))].join(" ");
const LEET = { 0: "o", 1: "i", "!": "i", 3: "e", 4: "a", "@": "a", 5: "s", $: "s", 7: "t" };
const LONGEST = 100; // more characters make no difference
// The powers of ten of guesses from which on a password is no longer so weak.
const STEPS = [5, 7, 9, 11];

/** The score from 0 to 4, and the kind of the weakest part: "" if there is none. `own` are words
 * that belong to the user, such as the name. */
export function estimate(password, own = []) {
    const signs = [...password].slice(0, LONGEST);
    // For each length of a beginning: the guesses (as a power of ten), and the parts it is made of.
    const best = [{ power: 0, parts: [] }];
    for (let end = 1; end <= signs.length; end += 1) {
        const last = best[end - 1];
        best[end] = { power: last.power + 1, parts: last.parts };
    }
    const found = partsOf(signs, own).sort((a, b) => a.end - b.end);
    for (let end = 1; end <= signs.length; end += 1) {
        const single = { power: best[end - 1].power + 1, parts: best[end - 1].parts };
        best[end] = single.power < best[end].power ? single : best[end];
        for (const part of found.filter((it) => it.end === end)) {
            const power = best[part.start].power + part.power;
            if (power < best[end].power) {
                best[end] = { power, parts: [...best[part.start].parts, part] };
            }
        }
    }
    const { power, parts } = best[signs.length];
    const [longest] = [...parts].sort((a, b) => b.end - b.start - (a.end - a.start));
    return { score: STEPS.filter((step) => power >= step).length, reason: longest?.kind ?? "" };
}

/** All parts that are easier to guess than their length suggests: {kind, start, end, power}. */
function partsOf(signs, own) {
    const lower = signs.map((sign) => sign.toLowerCase());
    return [
        ...words(signs, lower, COMMON, "common"),
        ...words(signs, lower, own.filter((word) => word.length > 2).map(lowered), "own"),
        ...runs(lower),
        ...patterns(lower.join(""), lower.length),
    ];
}

function lowered(word) {
    return word.toLowerCase();
}

function* words(signs, lower, list, kind) {
    const plain = lower.map((sign) => LEET[sign] ?? sign).join("");
    for (const [rank, word] of list.entries()) {
        for (const text of [lower.join(""), plain]) {
            for (let start = text.indexOf(word); start >= 0; start = text.indexOf(word, start + 1)) {
                const end = start + word.length;
                const changes = signs.slice(start, end).some((it, i) => it !== word[i]) ? 0.6 : 0;
                yield { kind, start, end, power: Math.log10(rank + 2) + changes };
            }
        }
    }
}

/** Repeated characters, alphabets, and rows of keys, of three or more. */
function* runs(lower) {
    for (let start = 0; start < lower.length; start += 1) {
        for (const [kind, goesOn] of Object.entries(RUNS)) {
            let end = start + 1;
            while (end < lower.length && goesOn(lower, start, end)) {
                end += 1;
            }
            if (end - start >= 3) {
                yield { kind, start, end, power: 1.2 + Math.log10(end - start) };
            }
        }
    }
}

const RUNS = {
    repeat: (signs, start, end) => signs[end] === signs[start],
    sequence: (signs, start, end) => {
        const step = (at) => signs[at].codePointAt(0) - signs[at - 1].codePointAt(0);
        return Math.abs(step(end)) === 1 && (end === start + 1 || step(end) === step(end - 1));
    },
    keys: (signs, start, end) => ROWS.includes(signs.slice(start, end + 1).join("")),
};

/** Dates, years, and a block that is repeated. */
function* patterns(text, length) {
    if (text.length !== length) {
        return; // its characters are not all of one unit: no place would be right
    }
    const dates = /(?=(\d{1,2}[-./ ]?\d{1,2}[-./ ]?(?:19|20)?\d\d|(?:19|20)\d\d))/g;
    for (const { 1: date, index } of text.matchAll(dates)) {
        const power = date.length > 4 ? 4.3 : 2;
        yield { kind: "date", start: index, end: index + date.length, power };
    }
    for (const { 0: all, 1: block, index } of text.matchAll(/(.{2,}?)\1+/g)) {
        const power = Math.min(block.length, 4) + Math.log10(all.length / block.length);
        yield { kind: "repeat", start: index, end: index + all.length, power };
    }
}
