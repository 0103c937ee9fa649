// Taking sample ids out of the page: to the clipboard, or into a file.

/** Two buttons for the ids that `ids()` returns when one is pressed, and room for an answer. */
function exportButtons(language, filename, ids) {
  const answer = element("span", { class: "answer", attributes: { role: "status" } });
  const room = element("div", { class: "export-room" });
  const showText = (text) => {
    // Where the browser gives no clipboard (a sandboxed frame), the reader copies by hand.
    const area = element("textarea", {
      attributes: { readonly: true, rows: 4, "aria-label": language.say("page.export.text") },
    });
    area.value = text;
    room.replaceChildren(area);
    area.focus();
    area.select();
    answer.textContent = language.say("page.export.byHand");
  };
  const copy = async () => {
    const text = ids().join("\n");
    try {
      await navigator.clipboard.writeText(text);
      answer.textContent = language.say("page.export.copied");
    } catch {
      showText(text);
    }
  };
  const download = () => {
    const url = URL.createObjectURL(new Blob([`${ids().join("\n")}\n`], { type: "text/plain" }));
    element("a", { attributes: { href: url, download: filename } }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  };
  return element("div", { class: "export" }, [
    button(language.say("page.export.copy"), copy, { attributes: { "data-key": "copy" } }),
    button(language.say("page.export.download"), download, {
      attributes: { "data-key": "download" },
    }),
    answer,
    room,
  ]);
}
