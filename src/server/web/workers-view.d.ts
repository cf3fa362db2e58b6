// Types of workers-view.js. Written by `workers types`; run it again after an update of workers.

/** A value of a row: what is not there is undefined. */
export type Value = string | number | boolean | string[] | { start: string; end: string } | Record<string, unknown>;

export interface Row {
  key: string;
  /** By the names that the view's data source declares, or else the database's. */
  row: Record<string, Value | undefined>;
}

export type Condition =
  | { property: string; equals: string | number | boolean }
  | { property: string; notEquals: string | number | boolean }
  | { property: string; in: (string | number | boolean)[] }
  /** A part of a text, without regard to the case of ASCII letters; or an element of a list. */
  | { property: string; contains: string }
  | { property: string; startsWith: string }
  | { property: string; greaterThan: string | number }
  | { property: string; atLeast: string | number }
  | { property: string; lessThan: string | number }
  | { property: string; atMost: string | number }
  | { property: string; isEmpty: boolean };

export type Filter = Condition | { and: Filter[] } | { or: Filter[] } | { not: Filter };

export interface Sort {
  property: string;
  /** "ascending" unless given; rows without a value come last. */
  direction?: "ascending" | "descending";
}

export interface Query {
  filter?: Filter;
  /** At most 5; rows that are equal by them are in the order of their keys. */
  sorts?: Sort[];
  /** 1 to 1000; 100 unless given. */
  limit?: number;
  /** How many rows to leave out at the beginning. */
  offset?: number;
}

export interface Answer {
  rows: Row[];
  hasMore: boolean;
  /** Another number after rows of the data source have changed. */
  revision: number;
}

export interface Property {
  type: string;
  format?: string;
  /** Of a select or a status. */
  options?: string[];
}

export interface Description {
  key: string;
  name: string;
  worker: string;
  description?: string;
  dataSources: Record<string, { name: string; description?: string; properties: Record<string, Property> }>;
}

export class ViewError extends Error {
  /** As in the API: "invalid", "not_found"; or "unreachable", "not_framed". */
  code: string;
}

/** What the worker declares for this view. */
export function describe(): Promise<Description>;

/** Rows of a data source as they are now. */
export function queryDataSource(dataSource: string, query?: Query): Promise<Answer>;

/** Calls onRows with the rows, and again after they have changed. Returns a function that ends it. */
export function subscribe(
  dataSource: string,
  query: Query,
  onRows: (answer: Answer) => void,
  onError?: (error: ViewError) => void,
): () => void;

export const theme: {
  readonly current: "light" | "dark";
  /** Returns a function that ends it. */
  subscribe(listener: (theme: "light" | "dark") => void): () => void;
};
