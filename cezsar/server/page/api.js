"use strict";

function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = text ?? "";
  if (className) made.className = className;
  return made;
}

function kind(schema) {
  if (!schema) return "";
  if (schema.anyOf) return schema.anyOf.map(kind).filter((one) => one !== "null").join(" or ");
  const range = [schema.minimum, schema.maximum].some((one) => one !== undefined)
    ? ` ${schema.minimum ?? ""} to ${schema.maximum ?? ""}` : "";
  return (schema.$ref ?? schema.type ?? "").split("/").pop() + range;
}

function row(parameter) {
  const made = document.createElement("tr");
  const fallback = parameter.schema.default === undefined ? "" : `default ${JSON.stringify(parameter.schema.default)}`;
  for (const text of [parameter.name, parameter.in, kind(parameter.schema), fallback, parameter.description]) {
    made.append(element("td", text));
  }
  return made;
}

async function show() {
  const state = document.getElementById("state");
  try {
    const answer = await fetch("/api/v1/openapi.json");
    const description = await answer.json();
    for (const [path, methods] of Object.entries(description.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        const section = element("section");
        section.append(element("h2", `${method.toUpperCase()} ${path}`), element("p", operation.summary));
        section.append(element("p", operation.description));
        if (operation.parameters?.length) {
          const table = document.createElement("table");
          table.append(...operation.parameters.map(row));
          section.append(table);
        }
        document.getElementById("paths").append(section);
      }
    }
    state.hidden = true;
  } catch (error) {
    state.textContent = `The description cannot be had: ${error.message}`;
  }
}

show();
