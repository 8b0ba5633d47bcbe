module drydock.example/tools

go 1.26
