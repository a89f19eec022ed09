// The API page: the OpenAPI description, to be read.

import { element, told } from "./talk.js";

function prose(text) {
  const made = element("p");
  made.append(...text.split("`").map((part, index) => (index % 2 ? element("code", part) : part)));
  return made;
}

function kind(schema) {
  if (!schema) return "";
  if (schema.anyOf) return schema.anyOf.map(kind).filter((one) => one !== "null").join(" or ");
  const { type, minimum, maximum, maxLength } = schema;
  if (type === "array") return `list of ${kind(schema.items)}`;
  if (type === "object") return `map to ${kind(schema.additionalProperties ?? Object.values(schema.patternProperties ?? {})[0])}`;
  const most = Number.isSafeInteger(maximum) || !Number.isInteger(maximum) ? maximum : undefined;
  const range = most === undefined ? (minimum === undefined ? "" : ` from ${minimum}`) : ` ${minimum ?? ""} to ${most}`;
  return type + range + (maxLength ? `, at most ${maxLength} characters` : "");
}

function row({ name, where, schema, required, description }) {
  const made = document.createElement("tr");
  const fallback = required ? "required" : schema.default === undefined ? "" : `default ${JSON.stringify(schema.default)}`;
  const head = element("th");
  head.scope = "row";
  head.append(element("code", name));
  made.append(head, ...[where, kind(schema), fallback, description ?? schema.description].map((text) => element("td", text)));
  return made;
}

function rows(operation, schemas) {
  const parameters = (operation.parameters ?? []).map((one) => ({ ...one, where: one.in }));
  const body = operation.requestBody?.content["application/json"].schema.$ref?.split("/").pop();
  const { properties = {}, required = [] } = schemas[body] ?? {};
  const fields = Object.entries(properties).map(([name, schema]) =>
    ({ name, where: "body", schema, required: required.includes(name) }));
  return [...parameters, ...fields].map(row);
}

async function show() {
  const state = document.getElementById("state");
  try {
    const description = await told("/openapi.json");
    for (const [path, methods] of Object.entries(description.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        const section = element("section");
        const head = element("h2");
        head.append(element("code", `${method.toUpperCase()} ${path}`));
        section.append(head, prose(`${operation.summary}. ${operation.description}`));
        const made = rows(operation, description.components.schemas);
        if (made.length) {
          const table = document.createElement("table");
          table.append(...made);
          section.append(table);
        }
        document.getElementById("paths").append(section);
      }
    }
    document.getElementById("example").textContent =
      `curl -H @<(echo 'Authorization: Bearer TOKEN') '${location.origin}/api/v1/search?text=person+playing+violin&k=3'`;
    state.hidden = true;
  } catch (error) {
    state.textContent = `The description cannot be had: ${error.message}`;
  }
}

show();
