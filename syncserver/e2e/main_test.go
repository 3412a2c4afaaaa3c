// Package e2e_test holds the tests of the whole product: faults with real
// processes, and histories against a model.
package e2e_test
