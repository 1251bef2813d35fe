// Package content undoes the content codings of HTTP (RFC 9110 §8.4.1): gzip,
// deflate, br and zstd, several of them one after the other.
//
// What is decoded comes from strangers. A [Decoder] therefore bounds what it
// makes of it: bytes in all, bytes for each byte that came in, codings. Its
// decoders work in time proportional to what they read and write, so these
// bounds are one on time too, and one that doesn't depend on the machine: the
// same body always decodes to the same. Nothing fails: what was decoded up to
// the place where it ended is the result, and why it ended a part of it.
package content
