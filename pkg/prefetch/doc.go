// Package prefetch has the processor load what is soon to be read.
//
// A capture goes through its frames front to back, but not byte by byte: it reads
// headers, the beginnings of bodies, and leaves the rest. Processors foresee runs of
// lines (of 64 bytes), not such leaps, so that each frame waits for the memory anew,
// unless somebody asks for it early enough.
//
// To ask is no access: memory that isn't there is no fault, and nothing depends on
// the answer. Where the instruction isn't known, nothing is asked for.
package prefetch
