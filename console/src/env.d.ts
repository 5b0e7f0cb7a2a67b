/// <reference types="vite/client" />

/** Hash of the API's document that this console was built for. */
declare const __API__: string
