// The API page: the OpenAPI description, to be read.

import { element, told } from "./talk.js";

function prose(text) {
  const made = element("p");
  made.append(...text.split("`").map((part, index) => (index % 2 ? element("code", part) : part)));
  return made;
}

function kind(schema) {
  if (!schema) return "";
  if (schema.$ref) return "object";
  if (schema.anyOf) return schema.anyOf.map(kind).filter((one) => one !== "null").join(" or ");
  const { type, minimum, maximum, maxLength } = schema;
  if (type === "array") return `list of ${kind(schema.items)}`;
  if (type === "object") return `map to ${kind(schema.additionalProperties ?? Object.values(schema.patternProperties ?? {})[0])}`;
  const most = Number.isSafeInteger(maximum) || !Number.isInteger(maximum) ? maximum : undefined;
  const range = most === undefined ? (minimum === undefined ? "" : ` from ${minimum}`) : ` ${minimum ?? ""} to ${most}`;
  return type + range + (maxLength ? `, at most ${maxLength} characters` : "");
}

function note({ where, schema, required }) {
  const mayBeNull = schema.anyOf?.some((one) => one.type === "null");
  if (where === "answer") return [!required && "not always", mayBeNull && "may be null"].filter(Boolean).join(", ");
  return required ? "required" : schema.default === undefined ? "" : `default ${JSON.stringify(schema.default)}`;
}

function row({ name, where, schema, required, description }) {
  const made = document.createElement("tr");
  const head = element("th");
  head.scope = "row";
  head.append(element("code", name));
  made.append(head, ...[where, kind(schema), note({ where, schema, required }), description ?? schema.description].map((text) => element("td", text)));
  return made;
}

function named(schema, schemas) {
  return schemas[schema?.$ref?.split("/").pop()];
}

// Every field of an answer, those of objects inside as "hits[].score".
function answered(schema, schemas, above = "") {
  const { properties = {}, required = [] } = named(schema, schemas) ?? {};
  return Object.entries(properties).flatMap(([name, field]) => {
    const inner = field.items ?? field;
    const path = above + name;
    const own = { name: path, where: "answer", schema: field, required: required.includes(name), description: named(inner, schemas)?.description };
    return [own, ...answered(inner, schemas, field.items ? `${path}[].` : `${path}.`)];
  });
}

function rows(operation, schemas) {
  const parameters = (operation.parameters ?? []).map((one) => ({ ...one, where: one.in }));
  const body = operation.requestBody?.content["application/json"]?.schema;
  const { properties = {}, required = [] } = named(body, schemas) ?? {};
  const fields = Object.entries(properties).map(([name, schema]) =>
    ({ name, where: "body", schema, required: required.includes(name) }));
  const answer = operation.responses["200"].content?.["application/json"]?.schema;
  return [...parameters, ...fields, ...answered(answer, schemas)].map(row);
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
