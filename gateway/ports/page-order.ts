/** Listing goes by cursor, oldest key first unless said otherwise; `after` is the last key of the page before. */
export type PageOrder = { after?: string | undefined; limit: number };
