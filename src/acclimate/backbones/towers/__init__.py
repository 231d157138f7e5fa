"""Transformer towers, and how class names behind learned context vectors run through a text tower.

C = 3 classes behind n = 2 context vectors, c0 and c1; the class at the end; a causal tower (CLIP); B images:

contexts.py    class_sequences: one list of token ids a class, in which -1 - i stands for context vector i

                   SOS -1 -2 cat . EOS
                   SOS -1 -2 bare land . EOS
                   SOS -1 -2 dog . EOS

layout.py      make_layout: what all sequences begin with, once; the rest end to end, without padding

                   prefix (1, P, D)   SOS c0 c1                                             P = 3
                   part      (T, D)   cat . EOS | bare land . EOS | dog . EOS               T = 3 + 4 + 3

               Token and position embeddings, summed; the position alone where a context vector goes. Made once for a
               set of classes: nothing in it changes while a method trains.

running.py     run_layout: puts the vectors in their places and runs B images x C classes, as many at once as fit

                   prefix (B, P, D) --- Tower.cache_prefix --> keys and values (heads, B, P, d) of every layer
                                                                  |
                   part (B * T, D) ---- Tower.run <---------------+    the classes of an image attend to its prefix
                          |
                   last token of each sequence (B, C, D)

DualEncoder    final norm and projection: features (B, C, E)

Without a context per image B = 1. A context per class is in no prefix, which then ends before it. With the class in
front or in the middle the sequences part earlier. Whole texts (run_texts) have no context. A tower that is not causal
has no prefix. Where it masks padding (BERT) sequences are packed as above, and read at their first tokens; where it
does not (SigLIP) they are as long as the context, padding included. BERT's norms stand behind attention and MLP.

What a method changes (changes.py) enters in every layer, for the prefix and for the parts alike:

tower.py         tokens x (T, D) <------- DeepPrompts: vectors[l] (M, D) overwrite rows of x at the input of layer l
                      |
                      +------.
                      |    norm1 <-------- NormChange: added to weight and bias, here and in norm2
                      |    q, k, v <----- LowRankDeltas: W h + scale * b diag(s) a h, here and in out, fc1 and fc2
attention.py          |      |
                      |    attention <--- cached keys and values of the prefix
                      |      |
packing.py            |      |            attention alone works on the padded grid (N, L):      cat   .     EOS   0
                      |      |                                                                  bare  land  .     EOS
                      |     out                                                                 dog   .     EOS   0
                      +------'
                      +------.
                      |    norm2          in the last layer q, out, fc1 and fc2 run for the pooled tokens alone
                      |    fc1, activation, fc2
                      +------'
                      |
                 tokens (T, D), or (N, D) where they are pooled

The image tower runs in the same way, without a prefix: append_prompts puts prompts[0] behind the patches, and deep
prompts overwrite it in later layers.

Words, each with one meaning:

context        n vectors that stand in place of words at the input of the first layer
deep prompts   vectors that overwrite those at the input of later layers
vectors        both together: vectors[0] is the context, vectors[l] what stands in its place at the input of layer l
position       index of a token in its sequence (a class position is "end", "middle" or "front")
row            index of a token in a flat list of tokens (T, D)
grid index     index of a token in the padded grid, flattened: sequence * L + position
prefix         the tokens that all sequences of a layout begin with
part           some of its sequences without the prefix, few enough to run at once
cache          keys and values of a prefix in every layer
pool           to keep of each sequence the one token that stands for it
"""

from __future__ import annotations

from acclimate.backbones.towers.changes import LowRank, LowRankDeltas, NormChange, append_prompts
from acclimate.backbones.towers.contexts import (
    ClassPosition,
    ClassTokens,
    ContextAxis,
    broadcast_context,
    check_context,
    class_sequences,
)
from acclimate.backbones.towers.layout import Layout, make_layout
from acclimate.backbones.towers.running import run_layout, run_texts
from acclimate.backbones.towers.steps import split, steps
from acclimate.backbones.towers.tower import Block, Tower, quick_gelu

__all__ = [
    "Block",
    "ClassPosition",
    "ClassTokens",
    "ContextAxis",
    "Layout",
    "LowRank",
    "LowRankDeltas",
    "NormChange",
    "Tower",
    "append_prompts",
    "broadcast_context",
    "check_context",
    "class_sequences",
    "make_layout",
    "quick_gelu",
    "run_layout",
    "run_texts",
    "split",
    "steps",
]
