/**
 * Uploads a file straight to the storage, as the app's answer to its announcement says: in a form
 * to S3, in parts to S3, or in one request to the app. No dependencies.
 *
 *     const stored = await uploadFile(file, { url: "/uploads/documents/direct" });
 */

const ATTEMPTS = 4;
const FIRST_DELAY = 500; // Milliseconds; doubled for each further attempt.
const PARTS_AT_A_TIME = 4; // Browsers open six connections to a host (HTTP/1.1).

export class UploadError extends Error {
  /** @param {string} message - What to tell the user.
   *  @param {boolean} temporary - Whether the same request may work later. */
  constructor(message, temporary = false) {
    super(message);
    this.name = "UploadError";
    this.temporary = temporary;
  }
}

/**
 * Upload a file.
 *
 * @param {File} file - From an input, or from a drop.
 * @param {object} options
 * @param {string} options.url - Where uploads are announced.
 * @param {(sent: number, total: number) => void} [options.onProgress] - Is told the bytes.
 * @param {() => void} [options.onSent] - Is told that only the check is left.
 * @param {AbortSignal} [options.signal] - Cancels the upload, until only the check is left.
 * @returns {Promise<object>} What the app says of the stored file.
 * @throws {UploadError} When it is refused, or still fails after several attempts.
 * @throws {DOMException} "AbortError", when it was cancelled. Nothing is left of it then.
 */
export async function uploadFile(file, { url, onProgress = () => {}, onSent = () => {}, signal }) {
  const announcement = { filename: file.name, size: file.size, content_type: file.type };
  const plan = await withRetries(() => postJson(url, announcement, signal), signal);
  try {
    await sendBytes(plan, file, onProgress, signal);
    onSent();
    // Sent once: an answer that got lost would make the second request fail, and mislead.
    return await postJson(plan.complete_url, { ticket: plan.ticket });
  } catch (error) {
    // Also when the page is being left. What this does not reach, the app sweeps up.
    const body = JSON.stringify({ ticket: plan.ticket });
    const headers = { "Content-Type": "application/json" };
    fetch(plan.abort_url, { method: "POST", headers, body, keepalive: true }).catch(() => {});
    throw error;
  }
}

async function sendBytes(plan, file, onProgress, signal) {
  if (plan.parts) return sendParts(plan.parts, file, onProgress, signal);
  let body = file;
  if (plan.fields) {
    body = new FormData();
    for (const [name, value] of Object.entries(plan.fields)) body.append(name, value);
    body.append("file", file); // S3 ignores the fields behind it.
  }
  const request = { method: plan.method, url: plan.url, headers: plan.headers, body };
  const report = (sent) => onProgress(Math.min(sent, file.size), file.size);
  return withRetries(() => sendRequest(request, report, signal), signal);
}

async function sendParts(parts, file, onProgress, signal) {
  const sent = parts.map(() => 0);
  const waiting = [];
  let start = 0;
  for (const [index, { url, size }] of parts.entries()) {
    waiting.push({ index, url, blob: file.slice(start, start + size) });
    start += size;
  }
  // One part that fails for good ends the others.
  const failure = new AbortController();
  const stop = AbortSignal.any([failure.signal, ...(signal ? [signal] : [])]);
  async function work() {
    for (let part = waiting.shift(); part; part = waiting.shift()) {
      const { index, url, blob } = part;
      const report = (bytes) => {
        sent[index] = bytes;
        onProgress(sent.reduce((sum, one) => sum + one, 0), file.size);
      };
      await withRetries(() => sendRequest({ method: "PUT", url, body: blob }, report, stop), stop);
      report(blob.size);
    }
  }
  try {
    await Promise.all(Array.from({ length: PARTS_AT_A_TIME }, work));
  } catch (error) {
    failure.abort();
    throw error;
  }
}

/** Send bytes by XMLHttpRequest: fetch() does not tell how many have gone. */
function sendRequest({ method, url, headers = {}, body }, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const cancel = () => request.abort();
    request.open(method, url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => onProgress(event.loaded);
    request.onload = () => {
      if (request.status < 300) resolve();
      else reject(toError(request.status, request.responseText));
    };
    request.onerror = () => reject(new UploadError("The connection was lost.", true));
    request.onabort = () => reject(signal.reason);
    request.onloadend = () => signal?.removeEventListener("abort", cancel);
    signal?.throwIfAborted();
    signal?.addEventListener("abort", cancel);
    request.send(body);
  });
}

async function postJson(url, data, signal) {
  let response;
  try {
    const headers = { "Content-Type": "application/json" };
    response = await fetch(url, { method: "POST", headers, body: JSON.stringify(data), signal });
  } catch (error) {
    throw error.name === "AbortError" ? error : new UploadError("The connection was lost.", true);
  }
  const text = await response.text();
  if (!response.ok) throw toError(response.status, text);
  return JSON.parse(text);
}

async function withRetries(send, signal) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await send();
    } catch (error) {
      if (!error.temporary || attempt === ATTEMPTS) throw error;
      await sleep(FIRST_DELAY * 2 ** (attempt - 1) * (0.5 + Math.random() / 2), signal);
    }
  }
}

function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

/** Make an error of an answer: the app explains itself as RFC 9457 says, S3 in XML. */
function toError(status, text) {
  const temporary = status >= 500 || status === 429 || status === 408;
  return new UploadError(findReason(text) ?? `The server answered ${status}.`, temporary);
}

function findReason(text) {
  try {
    const { detail, title } = JSON.parse(text);
    return typeof detail === "string" ? detail : title ?? detail?.[0]?.msg;
  } catch {
    return /<Message>([^<]+)<\/Message>/.exec(text)?.[1];
  }
}
