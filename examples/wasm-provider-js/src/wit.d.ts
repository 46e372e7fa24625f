// The types of core/wit/provider.wit in JavaScript, as componentize-qjs maps them: records as objects, variants as
// `{ tag, val }`, options as the value or `null`, every number as a `number`.


/** Microseconds since 1970 in UTC. */
export type Instant = number;

/** Milliseconds. */
export type Duration = number;

/** A JSON text. */
export type Json = string;
export type Url = string;

/** The handle of a secret, `secret:…`. The host puts the value in; a guest never meets one. */
export type Secret = string;

// -- errors
export type ErrorKind =
  | "retryable"
  | "rate-limited"
  | "reauth-required"
  | "invalid-request"
  | "permanent"
  | "outcome-unknown";
export type WhoActs = "nobody" | "account-owner" | "caller" | "operator";

export interface ProviderError {
  kind: ErrorKind;
  code: string;
  message: string;
  advice: string | null;
  who: WhoActs | null;
  retryAfter: Duration | null;
  /** A quota of the manifest that is used up. */
  quota: string | null;
}

export interface FieldIssue {
  pointer: string;
  code: string;
  message: string;
}

// -- context

export interface AppCredentials {
  clientId: string;
  clientSecret: Secret;
}

export interface CredentialLifetimes {
  access: Duration | null;
  refresh: Duration | null;
  refreshNotBefore: Duration | null;
}

export interface Credentials {
  secrets: [string, Secret][];
  /** Origin of the server that holds the account, where a platform has many. */
  server: Url | null;
  lifetimes: CredentialLifetimes;
}

export interface AccountView {
  id: string;
  remoteId: string;
  scopes: string[];
  credentials: Credentials;
}

/** What every call that works for an app or an account gets. */
export interface Context {
  now: Instant;
  app: AppCredentials;
  account: AccountView | null;
}

// -- http

export type Value =
  | { tag: "text"; val: string }
  | { tag: "secret"; val: Secret };

export type Target =
  | { tag: "url"; val: Url }
  | { tag: "secret"; val: Secret };

export type Auth =
  | { tag: "none" }
  | { tag: "account-bearer" }
  | { tag: "bearer"; val: Secret }
  | { tag: "account-query"; val: string };

export interface ByteRange {
  start: number;
  end: number;
}

export interface BytesBody {
  contentType: string;
  bytes: Uint8Array;
}

/** A part of a file of the post. The host streams it; it never enters the guest. */
export interface MediaBody {
  media: string;
  range: ByteRange;
  contentType: string;
}

export type Body =
  | { tag: "empty" }
  | { tag: "json"; val: Json }
  | { tag: "form"; val: [string, Value][] }
  | { tag: "bytes"; val: BytesBody }
  | { tag: "media"; val: MediaBody };

export interface MediaUrl {
  pointer: string;
  media: string;
}

export interface BodySecret {
  pointer: string;
  secret: Secret;
}

export interface HttpRequest {
  /** A row of the manifest's op table, which has method, hosts and effect. */
  op: string;
  target: Target;
  query: [string, Value][];
  headers: [string, Value][];
  auth: Auth;
  body: Body;
  mediaUrls: MediaUrl[];
  bodySecrets: BodySecret[];
}

export interface HttpResponse {
  status: number;
  headers: [string, string][];
  body: Uint8Array;
  receivedAt: Instant;
}
export type Effect = "observe" | "prepare" | "commit";

export interface Lost {
  effect: Effect;
  reason: string;
}

export interface NoSlot {
  bucket: string;
  wait: Duration;
}

export type TransportError =
  | { tag: "not-sent"; val: string }
  | { tag: "lost"; val: Lost }
  | { tag: "blocked"; val: string }
  | { tag: "no-slot"; val: NoSlot }
  | { tag: "missing-scope"; val: string }
  | { tag: "earlier-unknown" };

// -- media and posts
export type MediaKind = "video" | "image";

export interface MediaInfo {
  kind: MediaKind;
  mime: string;
  sizeBytes: number | null;
  durationMs: number | null;
  width: number | null;
  height: number | null;
  frameRate: number | null;
  codec: string | null;
}
export type PostKind = "text" | "video" | "images";
export type PostMode = "direct" | "draft";

export type MediaOrigin =
  | { tag: "stored" }
  | { tag: "hosted" }
  | { tag: "url"; val: Url };

export interface PostMedia {
  id: string;
  origin: MediaOrigin;
  info: MediaInfo;
}

export interface Post {
  id: string;
  kind: PostKind;
  mode: PostMode;
  title: string | null;
  text: string | null;
  media: PostMedia[];
  /** A JSON object. */
  options: Json;
}

export interface ByteProgress {
  done: number;
  total: number;
}

export interface Checkpoint {
  phase: string;
  state: Json;
  remoteRef: string | null;
  progress: ByteProgress | null;
}

export interface Publication {
  remoteIds: string[];
  url: Url | null;
}

export interface FollowUp {
  checkpoint: Checkpoint;
  wakeAfter: Duration;
}

export interface Delivered {
  checkpoint: Checkpoint;
  wakeAfter: Duration | null;
}

export interface Published {
  publication: Publication;
  followUp: FollowUp | null;
}

export type Progress =
  | { tag: "continue"; val: FollowUp }
  | { tag: "delivered"; val: Delivered }
  | { tag: "published"; val: Published };

export type Reconciled =
  | { tag: "happened"; val: Progress }
  | { tag: "did-not-happen"; val: Checkpoint | null }
  | { tag: "unknown" };
export type Cancelled = "stopped" | "too-late" | "requested";

export interface Refusal {
  code: string;
  advice: string;
}

export type CanPost =
  | { tag: "yes" }
  | { tag: "no"; val: Refusal };

export interface Creator {
  username: string;
  nickname: string;
  avatarUrl: Url | null;
}

export interface FieldState {
  name: string;
  allowed: Json[] | null;
  forced: Json | null;
}

export interface PublishOptions {
  canPost: CanPost;
  creator: Creator | null;
  fields: FieldState[];
  maxVideoSeconds: number | null;
}
export type Metric = "views" | "likes" | "comments" | "shares" | "reposts" | "quotes";

/** Why there is no value. */
export type NoMetric = "not-given" | "not-yet" | "missing-scope" | "reconnect-required" | "not-available" | "refused";

export type Count =
  | { tag: "of"; val: number }
  | { tag: "missing"; val: NoMetric };

export interface PostMetrics {
  remoteId: string;
  url: Url | null;
  counts: [Metric, Count][];
  createdAt: Instant | null;
}

// -- connecting

/** SHA-256 of the PKCE verifier: 32 bytes. */
export interface PkceChallenge {
  digest: Uint8Array;
}

export interface AuthorizeRequest {
  redirectUri: Url;
  state: string;
  scopes: string[];
  pkce: PkceChallenge;
  forceConsent: boolean;
}

export interface FormField {
  name: string;
  title: string;
  secret: boolean;
  required: boolean;
}

export interface Redirect {
  url: Url;
  pending: Json;
}

export interface Form {
  fields: FormField[];
  pending: Json;
}

export type Authorize =
  | { tag: "redirect"; val: Redirect }
  | { tag: "form"; val: Form };

export interface Callback {
  params: [string, string][];
  code: Secret;
  pkceVerifier: Secret;
  redirectUri: Url;
  pending: Json;
}

export interface Identity {
  remoteId: string;
  displayName: string | null;
  username: string | null;
  avatarUrl: Url | null;
  profileUrl: Url | null;
}

export interface Grant {
  credentials: Credentials;
  identities: Identity[];
  scopes: string[];
}
export type AppCheck = "accepted" | "not-offered";

// -- webhooks

export interface TimestampAndMac {
  timestamp: string;
  mac: string;
}

export type SignatureFormat =
  | { tag: "timestamp-and-mac"; val: TimestampAndMac }
  | { tag: "bare"; val: string };

export type SignedPart =
  | { tag: "timestamp" }
  | { tag: "literal"; val: string }
  | { tag: "body" };
export type MacEncoding = "hex" | "base64";

export interface SignatureScheme {
  name: string;
  header: string;
  format: SignatureFormat;
  signed: SignedPart[];
  encoding: MacEncoding;
  tolerance: Duration;
}

export interface WebhookAuth {
  schemes: SignatureScheme[];
}

export interface WebhookRequest {
  scheme: string;
  body: Uint8Array;
  receivedAt: Instant;
  clientId: string;
}

export type EventKind =
  | { tag: "post-progress" }
  | { tag: "post-visible"; val: string[] }
  | { tag: "post-hidden"; val: string[] }
  | { tag: "authorization-removed"; val: string }
  | { tag: "other" };

export interface IncomingEvent {
  name: string;
  kind: EventKind;
  remoteAccount: string | null;
  remoteRef: string | null;
  dedupeKey: string;
  occurredAt: Instant | null;
  payload: Json;
}

// -- the manifest

export interface SecretField {
  pointer: string;
  name: string;
}

export interface Op {
  name: string;
  method: string;
  hosts: string[];
  accountServer: boolean;
  effect: Effect;
  buckets: string[];
  scopes: string[];
  secrets: SecretField[];
  timeout: Duration;
  maxAnswerBytes: number;
}
export type BucketScope = "account" | "app";

export interface Bucket {
  name: string;
  limit: number;
  window: Duration;
  scope: BucketScope;
}

export interface Quota {
  name: string;
  mode: PostMode;
  limit: number;
  window: Duration;
  freesWhenDone: boolean;
}

export interface Scope {
  name: string;
  purpose: string;
  default: boolean;
}
export type Capability = "publish-direct" | "publish-draft" | "metrics";

export interface Need {
  capability: Capability;
  scopes: string[];
}
export type TextCount = "utf16" | "code-point" | "grapheme";

export interface TextRule {
  max: number;
  count: TextCount;
}
export type Transfer = "upload" | "pull-url" | "pull-hosted";

export interface MediaRule {
  kind: MediaKind;
  minCount: number;
  maxCount: number;
  mimes: string[];
  maxBytes: number;
  transfers: Transfer[];
  codecs: string[];
  sidePixels: [number, number] | null;
  frameRate: [number, number] | null;
  maxDuration: Duration | null;
}

export interface KindRule {
  kind: PostKind;
  modes: PostMode[];
  title: TextRule | null;
  text: TextRule | null;
  media: MediaRule | null;
  metrics: Metric[];
}

export type OptionKind =
  | { tag: "boolean" }
  | { tag: "choice"; val: string[] }
  | { tag: "integer"; val: [number, number] }
  | { tag: "text"; val: number };

export interface OptionField {
  name: string;
  title: string;
  description: string;
  kind: OptionKind;
  posts: PostKind[];
  modes: PostMode[];
  required: boolean;
  opposite: string | null;
  labels: [string, string][];
}

export interface Is {
  option: string;
  value: Json;
}

export interface Notice {
  when: Is[];
  text: string;
}

export interface OptionGroup {
  title: string;
  description: string | null;
  options: string[];
  switch: string | null;
  notices: Notice[];
}

export interface Exclusion {
  one: Is;
  other: Is;
  code: string;
  message: string;
}

export interface Declaration {
  modes: PostMode[];
  when: Is[];
  text: string;
  links: string[];
}

export interface Translation {
  language: string;
  texts: [string, string][];
}

export interface PostForm {
  oneText: PostKind[];
  groups: OptionGroup[];
  exclusions: Exclusion[];
  declarations: Declaration[];
  afterwards: string | null;
  translations: Translation[];
}

export interface Manifest {
  id: string;
  displayName: string;
  version: string;
  docsUrl: string;
  scopes: Scope[];
  needs: Need[];
  ops: Op[];
  buckets: Bucket[];
  quotas: Quota[];
  kinds: KindRule[];
  options: OptionField[];
  form: PostForm;
  browserHosts: string[];
}

/** Which of the three traits the provider implements. Calls of another are never made. */
export interface Capabilities {
  oauth: boolean;
  publisher: boolean;
  webhooks: boolean;
}
