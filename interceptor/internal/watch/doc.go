// Package watch keeps the latest records, and lets any number of watchers follow
// them at their own pace.
//
// There is one ring of records, bounded in number and bytes, and no queue per
// watcher: a watcher is a position in the ring. Taking a record never waits, so
// no watcher slows the capture. One that is slower than the records come finds
// its position overwritten, goes on with the oldest record that is left, and is
// told how many it has missed.
//
// While nobody watches, what is taken is bounded in records per second: enough
// to begin with, and next to no work however many come.
package watch
