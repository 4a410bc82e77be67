// A job on the server, looked at until it ends.
import { job as look } from "./api.js";
import { wait } from "./dom.js";

export const isOver = (job) => !["running", "stopping"].includes(job.state);

/** Call `show` with the job every second until it has ended. Returns what stops looking. */
export function follow(number, show, { every = 1000 } = {}) {
  let watching = true;
  (async () => {
    while (watching) {
      let job = null;
      try {
        job = await look(number);
      } catch (error) {
        if (watching) show(null, error);
        if (error.status) return;
      }
      if (!watching) return;
      if (job) {
        show(job, null);
        if (isOver(job)) return;
      }
      await wait(every);
    }
  })();
  return () => { watching = false; };
}

export const STATES = { running: "running", stopping: "saving its state …", done: "finished", stopped: "stopped", failed: "failed" };
