// Package hpack decodes the header blocks of HTTP/2 (RFC 7541) for an observer,
// who may join a connection late and may miss blocks.
//
// # What an observer can know
//
// A reference into the dynamic table counts from the newest entry. So whoever
// has seen every insertion since some moment resolves each reference to one of
// those entries exactly, whatever the table held before and however large it
// is: an encoder may only refer to what is still there, and what is there of
// the seen insertions are the newest. A [Decoder] keeps the seen insertions, a
// window on the newest part of the real table. A reference behind the window
// is to something that was never seen: the field is told as unknown
// ([Field.NameUnknown], [Field.ValueUnknown]), never guessed.
//
// Evictions don't disturb this. An entry that the window still has and the real
// table has not is never referred to, so keeping entries too long does no harm
// and dropping them too early only makes fields unknown. The window drops an
// entry when it is certain that the real table has dropped it: when the entries
// newer than it, at the least size that they can have, leave no room. (The size
// of an entry whose name is a reference behind the window has only a lower
// bound.) From then on nothing older can be left in the real table either, and
// the window is known to be all of it, as it is after a size update to less
// than an entry takes: a reference behind it then is an error.
//
// What disturbs it is an insertion that was not seen. After a lost or broken
// block the caller says [Decoder.Forget], and the window starts again, empty. If it
// turns out that no block was lost, [Decoder.Follow] puts what was known before behind
// what came in since. So does [Decoder.Recall] if it is known how much the lost blocks inserted.
package hpack
