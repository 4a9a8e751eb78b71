/**
 * Makes forms with a `data-direct` attribute upload straight to the storage: several files at a
 * time, chosen or dropped, with progress, cancel and retry. Without JavaScript they stay forms.
 */

import { uploadFile } from "./uploads.js";

class UploadForm {
  constructor(form) {
    this.url = form.dataset.direct;
    this.form = form;
    this.input = form.querySelector("input[type=file]");
    this.input.multiple = true;
    this.list = form.parentNode.insertBefore(document.createElement("ul"), form.nextSibling);
    this.list.className = "uploads";
    this.active = 0;
    this.failed = 0;
    form.querySelector(".drop-hint").hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.start(this.input.files);
      form.reset();
    });
    form.addEventListener("dragover", (event) => {
      event.preventDefault(); // Without it, the browser would open the file.
      form.classList.add("dropping");
    });
    form.addEventListener("dragleave", () => form.classList.remove("dropping"));
    form.addEventListener("drop", (event) => {
      event.preventDefault();
      form.classList.remove("dropping");
      this.start(event.dataTransfer.files);
    });
  }

  start(files) {
    for (const file of files) this.upload(file, this.list.appendChild(new UploadItem(file).element));
  }

  async upload(file, element) {
    const item = element.item;
    const cancellation = new AbortController();
    item.showRunning(() => cancellation.abort());
    this.active += 1;
    try {
      await uploadFile(file, {
        url: this.url,
        onProgress: (sent, total) => item.showProgress(sent, total),
        onSent: () => item.showChecking(),
        signal: cancellation.signal,
      });
      item.showDone();
    } catch (error) {
      if (error.name === "AbortError") {
        element.remove();
      } else {
        this.failed += 1;
        item.showFailed(error.message, error.temporary ? "Retry" : "Remove", () => {
          this.failed -= 1;
          if (error.temporary) this.upload(file, element);
          else this.remove(element);
        });
      }
    } finally {
      this.active -= 1;
    }
    this.reloadWhenDone();
  }

  remove(element) {
    element.remove();
    this.reloadWhenDone();
  }

  /** Show what is stored; but not while somebody has a message to read. */
  reloadWhenDone() {
    if (!this.active && !this.failed && this.list.querySelector(".done")) location.reload();
  }
}

class UploadItem {
  constructor(file) {
    this.element = document.createElement("li");
    this.element.item = this;
    this.name = this.add("span", "name", file.name);
    this.bar = this.add("progress", "bar");
    this.bar.max = 1;
    this.bar.setAttribute("aria-label", file.name);
    this.status = this.add("span", "status");
    this.status.setAttribute("role", "status");
    this.button = this.add("button", "");
    this.button.type = "button";
  }

  add(tag, className, text = "") {
    const element = document.createElement(tag);
    element.className = className;
    element.textContent = text;
    return this.element.appendChild(element);
  }

  show(state, status, action, onClick) {
    this.element.className = state;
    this.status.textContent = status;
    this.button.textContent = action;
    this.button.hidden = !action;
    this.button.onclick = onClick;
  }

  showRunning(onCancel) {
    this.bar.value = 0;
    this.show("running", "0 %", "Cancel", onCancel);
  }

  showProgress(sent, total) {
    this.bar.value = total ? sent / total : 1;
    this.status.textContent = `${Math.floor(100 * this.bar.value)} %`;
  }

  showChecking() {
    this.bar.value = 1;
    this.show("checking", "Checking…", "");
  }

  showDone() {
    this.show("done", "Stored", "");
  }

  showFailed(reason, action, onClick) {
    this.show("failed", reason, action, onClick);
  }
}

for (const form of document.querySelectorAll("form[data-direct]")) new UploadForm(form);
