// What a component may import: core/wit/provider.wit, and nothing else.

declare module "patchbay:provider/http@0.1.0" {
  const http: {
    /** An answer of any status is returned. Throws a `TransportError`. */
    send(request: import("./wit.d.ts").HttpRequest): import("./wit.d.ts").HttpResponse;
  };
  export default http;
}

declare module "patchbay:provider/log@0.1.0" {
  const log: { write(level: "debug" | "info" | "warn" | "error", message: string): void };
  export default log;
}

// Of what QuickJS has beyond the language.
declare function btoa(binary: string): string;
