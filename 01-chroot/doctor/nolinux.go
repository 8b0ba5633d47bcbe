package doctor

// noLinux is what there is to say on another operating system, by Go's name.
func noLinux(goos string) Result {
	name := goos
	cure := []string{"vagrant up     # in the course's folder: a virtual machine with a Linux kernel", "vagrant ssh    # and type the course's commands there"}
	switch goos {
	case "darwin":
		name = "macOS"
	case "windows":
		name = "Windows"
		cure = append(cure, "wsl --install  # or Linux by WSL 2, in PowerShell as administrator")
	}
	return Result{
		Status: Missing, Found: "this is " + name, Breaks: "everything but the client, drydock, which talks to a daemon elsewhere",
		Why:  "a container is made of features of the Linux kernel; other systems run them in a virtual machine",
		Cure: cure,
	}
}
