// Package rules decides which records leave the interceptor, and which of them
// keep bodies.
//
// Rules are ordered: the first that matches a record allows or denies it, and
// what none matches is allowed. A list that ends with a deny of everything is
// therefore a list of what is allowed.
package rules
