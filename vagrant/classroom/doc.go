// Classroom gathers into one folder, for a memory stick, what a room of learners
// needs without the internet:
//
//	drydock/   the repository, with each text as a page for the browser beside it
//	go/        the Go distribution of go.work, for each platform
//	modules/   every module that the chapters and their tests need, as a GOPROXY
//	programs/  the engine's programs, built from that tree for the virtual machine
//	box/       the virtual machine's box, for each provider that this host has it of
//
// A learner copies the folder, installs the Go of their platform, and types
// `vagrant up && go test ./...` in drydock/. Every download is verified: modules
// and distributions by the Go checksum database, the rest by the sums in this source.
package main
