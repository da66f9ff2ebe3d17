from parrot.cli.worker_log import phase


def test_a_worker_that_has_said_nothing_imports_its_libraries():
    assert phase([]) == "importing the libraries"


def test_the_last_thing_that_it_began_counts():
    lines = ["INFO Initializing a V1 LLM engine", "INFO Starting to load model", "Loading safetensors: 10%"]
    assert phase(lines) == "vLLM loads the weights"
