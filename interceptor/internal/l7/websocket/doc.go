// Package websocket follows the frames of a WebSocket (RFC 6455), whatever
// carries it: a connection behind an upgrade of HTTP/1 ([Conn]), a stream of
// HTTP/2 (RFC 8441).
//
// A [Session] is a push parser: it may be fed a byte at a time, copies nothing
// but what it keeps, and never refuses. Fragments are joined, masks are taken
// off, messages compressed by permessage-deflate (RFC 7692) are inflated as far
// as their content is kept.
//
// Missing bytes inside of a frame's payload are skipped exactly. After any others
// the end has lost its place, which is regained where a chain of frames begins at
// the start of a segment; messages until then are not told. A header that equals the
// one before, mask included, proves nothing, since a body may repeat itself, but that a server's
// frame ends where a segment does. Nor do fragments that others have to follow, and a server's
// empty frames: zeros and other small numbers, as of a body that has lost its beginning, read
// as such. Frames that break the
// protocol are counted, and those that leave no doubt that this is no frame lose
// the place too. Once the place was lost such a frame tells that it was regained
// wrongly, and is not counted. Where not even the upgrade was seen, [LooksLikeFrames] tells.
package websocket
