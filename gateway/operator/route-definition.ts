import { z } from 'zod';
import { OPERATOR_ROUTES, type OperatorResponses, type OperatorRoute } from '#gateway/contract/operator-paths.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { OperatorOperations } from './operator-operations.ts';
import type { ResponseName } from './response-schemas.ts';

const NOTHING = z.strictObject({});

/** Who asks, and when the request arrived (monotonic milliseconds). */
type Caller = { actor: string; requestedAt: number };

type Parts = { params: unknown; query: unknown; body: unknown };

export type RouteDefinition = {
  name: OperatorRoute;
  summary: string;
  status: 200 | 201;
  /** Octets of the longest body, where the usual limit is too small. */
  bodyLimit?: number;
  response: ResponseName;
  schemas: { params: z.ZodType; query: z.ZodType; body: z.ZodType };
  /** @throws GatewayError REQUEST_INVALID, and what the operation throws. */
  answer(operations: OperatorOperations, parts: Parts, caller: Caller): Promise<unknown>;
};

type Wish<Name, P, Q, B> = {
  summary: string;
  status?: 201;
  bodyLimit?: number;
  response: ResponseName;
  params?: z.ZodType<P>;
  query?: z.ZodType<Q>;
  body?: z.ZodType<B>;
  answer(
    operations: OperatorOperations,
    parts: { params: P; query: Q; body: B },
    caller: Caller,
  ): Promise<Name extends OperatorRoute ? OperatorResponses[Name] : never>;
};

/** One route of the operator API, its parts typed by their schemas. */
export function route<Name extends OperatorRoute, P, Q, B>(name: Name, wish: Wish<Name, P, Q, B>): RouteDefinition {
  const params: z.ZodType = wish.params ?? NOTHING;
  const query: z.ZodType = wish.query ?? NOTHING;
  const body: z.ZodType = wish.body ?? NOTHING;
  return {
    name,
    summary: wish.summary,
    status: wish.status ?? 200,
    ...(wish.bodyLimit === undefined ? {} : { bodyLimit: wish.bodyLimit }),
    response: wish.response,
    schemas: { params, query, body },
    answer: (operations, parts, caller) =>
      wish.answer(
        operations,
        {
          params: parse(params, parts.params, 'path') as P,
          query: parse(query, parts.query, 'query') as Q,
          body: parse(body, parts.body ?? {}, 'body') as B,
        },
        caller,
      ),
  };
}

function parse(schema: z.ZodType, value: unknown, where: string): unknown {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const faults = result.error.issues
    .slice(0, 5)
    .map(({ path, message }) => `${[where, ...path].join('.')}: ${message}`);
  throw new GatewayError('REQUEST_INVALID', faults.join('; ').slice(0, 500));
}

export function pathOf({ name }: RouteDefinition): { method: 'GET' | 'POST' | 'PATCH'; path: string } {
  return OPERATOR_ROUTES[name];
}
