// The requests this page makes, all of them to the server it came from.
import { Refused, wait } from "./dom.js";

const TRIES = 6;

/** Ask; a busy server is asked again, as often as it says it will be free. JSON comes back as an object. */
async function request(path, { method = "GET", body, json } = {}) {
  const headers = {};
  if (json !== undefined) { body = JSON.stringify(json); headers["Content-Type"] = "application/json"; }
  if (body instanceof Blob) headers["Content-Type"] = "application/octet-stream";
  for (let tried = 1; ; tried += 1) {
    let answer;
    try {
      answer = await fetch(path, { method, headers, body });
    } catch {
      throw new Refused(0, "the server does not answer; is it still running?");
    }
    if (answer.status === 503 && tried < TRIES) {
      await wait(1000 * Math.min(Number(answer.headers.get("Retry-After")) || tried, 10));
      continue;
    }
    if (answer.status === 204) return null;
    if (answer.ok) return answer.headers.get("Content-Type")?.includes("json") ? answer.json() : answer.blob();
    let told = {};
    try { told = await answer.json(); } catch { /* not a word from Shoebox: a proxy's page, perhaps */ }
    const reason = told.pictures?.[0]?.reason ?? told.detail;
    const said = typeof reason === "string" ? reason : `the server refuses (${answer.status})`;
    throw new Refused(answer.status, answer.status === 401 ? "this needs the server's token: open its address with ?token=… again" : said);
  }
}

/** What the classifier is. */
export const describe = () => request("v1/model");

/** The answer for one picture: its most probable classes, the set, whether it is unsure or unknown. */
export async function predict(file, top) {
  const { predictions: [found] } = await request(`v1/predict?top=${top}`, { method: "POST", body: file });
  if (found.status !== "ok") throw new Refused(422, found.status);
  return { top: found.top, set: found.set, unsure: found.unsure, unknown: found.unknown };
}

/** Heat maps of the most probable classes, and the training pictures that are most alike. */
export const explain = (file) => request("v1/explain", { method: "POST", body: file });

export const examples = () => request("v1/examples");
export const example = (row) => request(`v1/pictures/${row}/large`);

export const workshop = () => request("v1/workshop");
export const startJob = (wanted) => request("v1/jobs", { method: "POST", json: wanted });
export const job = (number) => request(`v1/jobs/${number}`);
export const stopJob = (number) => request(`v1/jobs/${number}/stop`, { method: "POST" });
export const resumeJob = (number) => request(`v1/jobs/${number}/resume`, { method: "POST" });

export const suspects = (folder) => request(`v1/labels/${folder}`);
export const decide = (folder, mark, number, label) => request(`v1/labels/${folder}/${mark}/${number}`, { method: "PUT", json: { label } });
export const forget = (folder, mark, number) => request(`v1/labels/${folder}/${mark}/${number}`, { method: "DELETE" });
