"""Federated computation on data that stays where it is.

What a node does with one :class:`~shuyan.federation.transport.TaskRequest`, in this order and no other; the agent's
process does all of it but step 6:

1.  **Repeat.** A ``task_id`` that was answered before gets the same bytes again; with other content: ``task_replayed``.
2.  **Grant.** Signature, issuer and type against the pinned authority key; term; revocation list fresh and silent
    about it; purpose; this node and its own agreement key in ``grant.nodes``. (``shuyan.trust``)
3.  **Question.** ``_flower.read_question(request.flower_message)`` gives message type, expected lengths, what
    came with them (single values and vectors, nothing else) and a digest of the meaning, so that another spelling is no
    other question. Then :func:`checks.check_task`: participants sorted, distinct, granted, at
    least ``grant.minimum_participants`` and including this node; app granted and installed with that digest;
    parameters valid; every column they touch granted, known, of a fitting type, with the declared domain; the
    output's size and ring capacity (:func:`egress.check_question`); and exactly the values and arrays that the app
    declares, since one that it does not read could make an old question look new. It returns a ``CheckedTask``.
4.  **Local policy.** Allow-list, approval, budget: the node's own. Under a grant with differential privacy the question is
    charged here, and one that was answered before goes on at step 8 with the noisy elements of then.
5.  **Opening foreseen.** ``open_book.check(run, round, attempt, question, participants)``: refuse now what could not be
    opened later.
6.  **Worker.** ``_flower.answer(app, request.flower_message, params, inputs)`` in a killable process, with
    :class:`~shuyan.federation.inputs.Inputs` holding only the columns of ``CheckedTask.columns``; gives ``PlainAnswer(vectors,
    cohort)``, which crosses the process boundary as ``to_bytes()`` / ``from_bytes()`` and is not trusted.
7.  **Egress.** :func:`egress.check_output`: declared, of the asked length, finite, bounded, cohort large enough;
    returns ring elements. With differential privacy :func:`shuyan.federation.privacy.noise.add_noise` adds this department's
    share of the noise to them, and the cohort is not checked.
8.  **Mask.** :func:`masking.mask_vectors` with the peers' keys *from the grant*; keep ``Masked.seed`` with the task, on
    disk, before replying.
9.  **Journal**, then reply with ``_flower.masked_reply(request.flower_message, masked.words)``.

On an ``OpenRequest``: look up the task by ``task_id``; check run, round and attempt against it; ``open_book.open(...)``
(on disk) and the journal first; then reply with the seed. Opening the same attempt twice gives the same seed.

The coordinator's side is :class:`~shuyan.federation.grid.SecureGrid` on a :class:`~shuyan.federation.transport.Transport`:
``app.run(SecureGrid(transport, ...))`` gives a result's content. :mod:`shuyan.federation.local` runs both sides in one
process.

Importing this package imports nothing else.
"""
