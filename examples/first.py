"""A first program: two prompts, the second one built on what the first one wrote.

Start `parrot dev` in one terminal, then run this in another.
"""

import parrot as P


@P.semantic_function()
def explain(thing: P.Input, explanation: P.Output(P.SamplingConfig(temperature=0, max_gen_length=60))):
    """Explain in two sentences what {{thing}} is. {{explanation}}"""


@P.semantic_function()
def name_it(explanation: P.Input, title: P.Output(P.SamplingConfig(temperature=0, max_gen_length=12))):
    """Give this text a title of three words: {{explanation}}
    Title: {{title}}"""


if __name__ == "__main__":
    with P.Session(name="first"):
        explanation = explain("a parrot")  # a Variable at once; nothing waits
        title = name_it(explanation)  # runs as soon as the explanation is there, without asking us
        print(title.get())
        print(explanation.get())
