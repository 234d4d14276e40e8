// Loaded before a conformance suite, for a machine that is slower than the suite expects: all waits of
// the suite are longer.

const TIMES = 20;
const { setTimeout: usual } = globalThis;
const patient = (callback, delay = 0, ...given) => usual(callback, delay * TIMES, ...given);
globalThis.setTimeout = Object.defineProperties(patient, Object.getOwnPropertyDescriptors(usual));
