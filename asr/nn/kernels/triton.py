"""The recurrence on a GPU, forward and backward each in one launch where the layer fits.

A step needs the hidden vectors of all cells and is too small to fill a GPU, so what counts is what
lies between two steps. A program owns a slice of cells of one direction for a block of batch rows:
it keeps the cells' state in registers and their recurrent weights in shared memory, and in one
launch runs all steps (Diamos et al. 2016, "Persistent RNNs"). Between two steps it writes its
slice's hidden vectors, waits at a barrier for the other slices of its direction and block, and
reads theirs from L2; different directions and blocks never wait for each other. What a step needs
besides is read a step ahead. On the way back the same programs carry the errors, and sum the
peepholes' gradients in registers. The gradient of the recurrent weights is one matrix product over
all steps at the end.

The barrier needs all its programs on the GPU at once. The launch is cooperative, which makes the
driver refuse it otherwise, and :func:`plan` gives each program a multiprocessor of its own. Where
the slices of a layer outnumber the multiprocessors, each step is a launch, and the order of
launches is the barrier. Launches depend on nothing that the host reads from the GPU, and the
one-step kernels find the step on the GPU, so that a few of them are captured once in a CUDA graph
and replayed for any number of steps.

Cell state, error in it, and sums are float32. Products are of bfloat16, or of float32 in one
tensor-core product (tf32) where torch's setting for float32 matrices allows it, else in three
(tf32x3), which are about as exact as float32.

Verified with Triton's interpreter against float64, and compiled for compute capability 8.0 and 9.0;
not yet run or timed on a GPU.
"""
