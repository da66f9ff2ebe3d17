"""A text as it comes, with a time limit; and the same stream again from its third part on, as another process would read it.

Start `parrot dev` in one terminal, then run this in another.
"""

import parrot as P


@P.semantic_function()
def tell(topic: P.Input, story: P.Output(P.SamplingConfig(temperature=0, max_gen_length=80))):
    """Tell a short story about {{topic}}. {{story}}"""


if __name__ == "__main__":
    with P.Session(name="streaming", deadline=120) as session:
        story = tell("a parrot", call_id="story")  # submitted twice under this id, it would still be one call
        for part in story.stream():
            print("\n(it begins anew)\n" if part.reset else part, end="", flush=True)
        print()

    with P.Session.attach(session.id) as elsewhere:
        for part in elsewhere.find("story.story").stream(from_=2):
            print(part.number, repr(part.text))
