// What a provider in JavaScript works with: in it, nothing is about one platform.

export * from "./component.js";
export * from "./error.js";
export * from "./http.js";
export * from "./manifest.js";
export * from "./shape.js";
export * from "./text.js";
export * from "./time.js";
