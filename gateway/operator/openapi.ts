import { z } from 'zod';
import { ROUTES } from './operator-routes.ts';
import { RESPONSE } from './response-schemas.ts';
import { pathOf, type RouteDefinition } from './route-definition.ts';

type JsonObject = Record<string, unknown>;

/** The operator API as OpenAPI 3.1, made from the very schemas that check the requests. */
export function describeOpenApi(version: string): JsonObject {
  const paths: Record<string, JsonObject> = {};
  for (const route of ROUTES) {
    const { method, path } = pathOf(route);
    const template = path.replace(/:([A-Za-z]+)/g, '{$1}');
    paths[template] = { ...paths[template], [method.toLowerCase()]: describeRoute(route, method) };
  }
  const schemas = Object.fromEntries(
    Object.entries(RESPONSE).map(([name, schema]) => [name, toSchema(schema, 'output')]),
  );
  return {
    openapi: '3.1.0',
    info: { title: 'Gatehouse operator API', version },
    paths,
    components: { schemas },
  };
}

function describeRoute({ name, summary, status, response, schemas }: RouteDefinition, method: string): JsonObject {
  const parameters = [...parametersOf(schemas.params, 'path'), ...parametersOf(schemas.query, 'query')];
  const body = toSchema(schemas.body, 'input');
  return {
    operationId: name,
    summary,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(method === 'GET' ? {} : { requestBody: { content: { 'application/json': { schema: body } } } }),
    responses: {
      [status]: {
        description: summary,
        content: { 'application/json': { schema: { $ref: `#/components/schemas/${response}` } } },
      },
      default: {
        description: 'What is wrong (RFC 9457)',
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    },
  };
}

function parametersOf(schema: z.ZodType, where: 'path' | 'query'): JsonObject[] {
  const { properties = {}, required = [] } = z.toJSONSchema(schema, { io: 'input' });
  return Object.entries(properties).map(([name, property]) => ({
    name,
    in: where,
    required: required.includes(name),
    schema: property,
  }));
}

function toSchema(schema: z.ZodType, io: 'input' | 'output'): JsonObject {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io });
  return rest;
}
